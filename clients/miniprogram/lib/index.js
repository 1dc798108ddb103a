/*!
 * The mini program's side of wxgate. Apache-2.0.
 *
 * One file without dependencies: from npm, or copied. It is written for what runs in a mini program
 * untouched by any compiler: no async functions, no `?.`, no `fetch`, no `URL`. It knows no page and
 * no business of the app, and it sends the token to the gate and to nobody else.
 */
'use strict'

const PROBLEM = 'urn:wxgate:problem:'

// What to do about a problem, by its `action`; `fix` and `none` are refusals.
const REASONS = { relogin: 'relogin', reacquire: 'reacquire', retry: 'retry' }

// With these the app server has not seen the request, so that anything may be sent again.
const NOT_FORWARDED = ['rate_limited', 'overloaded', 'wechat_unavailable', 'upstream_unreachable']

// What the gate says when it names no other time, in seconds.
const DEFAULT_RETRY_AFTER = 2

// No login is held back for longer, whatever the gate or the clock of the phone says.
const MAX_HOLD_MS = 60000

// Spreads those who were all told the same time.
const JITTER_MS = 1000

const PATHS = {
  login: '/wx/login',
  decrypt: '/wx/decrypt',
  phone: '/wx/phone',
  session: '/wx/session',
  logout: '/wx/logout',
}

// Not a class: compilers to ES5 break `instanceof` for classes that extend Error.
function GateError(fields) {
  this.name = 'GateError'
  this.code = fields.code
  this.status = fields.status || 0
  this.reason = fields.reason
  this.detail = fields.detail || ''
  this.requestId = fields.requestId || ''
  this.retryAfter = fields.retryAfter
  this.data = fields.data
  this.message = this.code + (this.status ? ' (' + this.status + ')' : '') + (this.detail ? ': ' + this.detail : '')
  this.stack = new Error(this.message).stack
}
GateError.prototype = Object.create(Error.prototype)
GateError.prototype.constructor = GateError

// `fail` of a wx API: no answer came, and nothing is known about the session.
function offline(failure) {
  const detail = String((failure && (failure.errMsg || failure.message)) || failure)
  const kind = /timeout|timed out/.exec(detail) ? 'timeout' : /abort/.exec(detail) ? 'aborted' : 'network'
  return new GateError({ code: kind, reason: 'offline', detail: detail })
}

// Header names come in any case: every platform has its own.
function headerOf(res, name) {
  const header = (res && res.header) || {}
  const key = Object.keys(header).find((key) => key.toLowerCase() === name)
  const value = key === undefined ? undefined : header[key]
  return Array.isArray(value) ? value[0] : value
}

function isBuffer(data) {
  return Object.prototype.toString.call(data) === '[object ArrayBuffer]'
}

function utf8(buffer) {
  const escaped = (byte) => '%' + (byte < 16 ? '0' : '') + byte.toString(16)
  return decodeURIComponent(Array.from(new Uint8Array(buffer)).map(escaped).join(''))
}

// JSON as a value, anything else as it is.
function parsed(data) {
  try {
    const text = isBuffer(data) ? utf8(data) : data
    return typeof text === 'string' ? JSON.parse(text) : data
  } catch (_notJson) {
    return data
  }
}

// The problem document in an answer, in both envelopes.
function problemIn(data) {
  const body = parsed(data)
  const found = [body, body && body.data].find((it) => it && typeof it.type === 'string' && it.type.indexOf(PROBLEM) === 0)
  return found || null
}

function problemError(problem, res) {
  const reason = REASONS[problem.action] || 'refused'
  const after = parseInt(headerOf(res, 'retry-after'), 10)
  return new GateError({
    code: problem.code,
    status: res.statusCode,
    reason: reason,
    detail: problem.detail,
    requestId: problem.request_id,
    retryAfter: reason === 'retry' ? (after >= 0 ? after : DEFAULT_RETRY_AFTER) : undefined,
    data: problem,
  })
}

function succeeded(res) {
  return res.statusCode >= 200 && res.statusCode < 300
}

function unexpected(res) {
  return new GateError({
    code: 'unexpected_answer',
    status: res.statusCode,
    reason: res.statusCode >= 500 ? 'retry' : 'refused',
    detail: 'the answer is not one of the gate; is baseUrl right?',
    requestId: headerOf(res, 'x-request-id'),
    data: res.data,
  })
}

function without(options, names) {
  const rest = Object.assign({}, options)
  names.forEach((name) => delete rest[name])
  return rest
}

// For callers that give callbacks, as wx's own APIs take them.
function tell(promise, options) {
  const callback = (name) => (value) => typeof options[name] === 'function' && options[name](value)
  if (options && (options.success || options.fail || options.complete)) {
    promise.then(callback('success'), callback('fail')).then(() => promise).then(callback('complete'), callback('complete'))
  }
  return promise
}

// The address of the gate: one, or one for each of develop, trial and release.
function chooseBase(baseUrl, platform) {
  let chosen = baseUrl
  if (baseUrl && typeof baseUrl === 'object') {
    let version = 'release'
    try {
      version = platform.getAccountInfoSync().miniProgram.envVersion || version
    } catch (_unknown) {
      // An old base library, or none of WeChat: what is released.
    }
    chosen = baseUrl[version] || baseUrl.release
  }
  if (!/^https?:\/\/[^/?#]/.test(chosen)) throw new TypeError('baseUrl: no http:// or https:// address of the gate')
  return chosen.replace(/\/+$/, '')
}

function createClient(settings) {
  const platform = settings.wx || (typeof wx === 'undefined' ? uni : wx)
  const base = chooseBase(settings.baseUrl, platform)
  const paths = Object.assign({}, PATHS, settings.paths)
  const tokenIn = settings.tokenIn || 'authorization'
  const socketTokenIn = settings.socketTokenIn || tokenIn
  const maxRetryAfter = settings.maxRetryAfter === undefined ? 5 : settings.maxRetryAfter
  const retries = settings.retries === undefined ? 1 : settings.retries
  const quietMs = (settings.quietSeconds === undefined ? 60 : settings.quietSeconds) * 1000
  const key = 'wxgate:' + base

  let token = stored()
  let acceptedAt = 0 // when the gate last took the token, by the clock of the phone
  let pending = null // the login that is under way
  let leaving = null // the logout that is under way
  let hold = null // a login that was told to wait: { since, ms, error }
  let era = 0 // counts logouts

  // ---- The token ----

  function stored() {
    try {
      const kept = platform.getStorageSync(key)
      return typeof kept === 'string' ? kept : ''
    } catch (_storage) {
      return ''
    }
  }

  // Storage that is full or broken costs a login at the next start, no more.
  function keep(value) {
    token = value
    try {
      if (value) platform.setStorageSync(key, value)
      else platform.removeStorageSync(key)
    } catch (_storage) {}
  }

  // Gives up a token, unless somebody has another one meanwhile: here, or in an independent subpackage.
  function forget(refused) {
    if (token !== refused) return
    const other = stored()
    if (other && other !== refused) token = other
    else keep('')
  }

  function carrying(options, value, place) {
    const where = place || tokenIn
    const name = where.indexOf('header:') === 0 ? where.slice(7) : 'Authorization'
    const header = Object.assign({}, options.header)
    header[name] = name === 'Authorization' ? 'Bearer ' + value : value
    return Object.assign({}, options, { header: header })
  }

  // What one call of the API may still do. `spent`: it has had its login.
  function newCall() {
    return { era: era, spent: false, retries: retries }
  }

  function tokenFor(call) {
    if (leaving && !call.leaves) return leaving.then(() => tokenFor(call))
    if (token) return Promise.resolve(token)
    if (call.era !== era) return Promise.reject(new GateError({ code: 'logged_out', reason: 'refused', detail: 'logged out meanwhile' }))
    call.spent = true
    const waited = hold ? Date.now() - hold.since : 0
    if (hold && !pending && waited >= 0 && waited < hold.ms) return Promise.reject(hold.error)
    return login().then(() => token)
  }

  // ---- Calls ----

  function target(url, from) {
    if (typeof url === 'string') {
      if (url.charAt(0) === '/') return from + url
      if (url === from || url.indexOf(from + '/') === 0 || url.indexOf(from + '?') === 0) return url
    }
    throw new GateError({ code: 'foreign_url', reason: 'refused', detail: url + ' is not below ' + from + ', which alone gets the token' })
  }

  // A wx API as a promise of its answer.
  function invoke(name, options) {
    return new Promise((resolve, reject) => {
      let header
      const done = (res) => resolve(res.header || !header ? res : Object.assign(res, { header: header }))
      const fail = (failure) => reject(offline(failure))
      const given = without(options, ['onTask', 'complete'])
      const task = platform[name](Object.assign(given, { success: done, fail: fail }))
      if (!task) return
      if (typeof task.catch === 'function') task.catch(() => {}) // Taro's tasks are promises, too
      // The answers of wx.uploadFile and wx.downloadFile have no header of their own.
      if (name !== 'request' && task.onHeadersReceived) task.onHeadersReceived((res) => { header = res.header })
      if (options.onTask) options.onTask(task)
    })
  }

  // The problem in an answer; null: there is none; undefined: nobody can tell.
  function findProblem(name, res) {
    if (name === 'downloadFile' && res.statusCode >= 400) return findProblemInFile(res)
    if (name === 'uploadFile') res.data = parsed(res.data)
    const unseen = res.data === undefined || res.data === null || res.data === ''
    return Promise.resolve(unseen ? undefined : res.statusCode >= 400 ? problemIn(res.data) : null)
  }

  function findProblemInFile(res) {
    const filePath = res.tempFilePath || res.filePath
    return new Promise((resolve) => {
      const files = platform.getFileSystemManager()
      const found = (read) => {
        const problem = problemIn(read.data)
        // It is not the file that was asked for, and shall not be taken for it.
        if (problem) files.unlink({ filePath: filePath, success() {}, fail() {} })
        resolve(problem)
      }
      files.readFile({ filePath: filePath, encoding: 'utf8', success: found, fail: () => resolve(undefined) })
    }).catch(() => undefined)
  }

  function send(name, options, call) {
    return tokenFor(call).then((sent) => {
      const absolute = Object.assign({}, options, { url: target(options.url, base) })
      return invoke(name, carrying(absolute, sent)).then((res) =>
        findProblem(name, res).then((problem) => {
          if (problem) return refused(problemError(problem, res), sent, name, options, call)
          if (problem === undefined && res.statusCode === 401) return unsure(res, sent, name, options, call)
          if (token === sent) acceptedAt = Date.now()
          return res
        }))
    })
  }

  function refused(error, sent, name, options, call) {
    if (error.reason === 'relogin') {
      forget(sent)
      if (call.spent) throw error
      call.spent = true
      return send(name, options, call)
    }
    if (error.reason === 'retry' && mayRepeat(error, name, options) && call.retries > 0) {
      call.retries -= 1
      return pause(error).then(() => send(name, options, call))
    }
    // The key of the session is not the one that the data was made with. With a login now, data that is
    // obtained from here on can be read.
    if (error.code === 'decrypt_failed' && !call.spent) return login().then(() => { throw error }, () => { throw error })
    throw error
  }

  function mayRepeat(error, name, options) {
    const safe = name !== 'uploadFile' && /^(GET|HEAD|OPTIONS)$/i.test(options.method || 'GET')
    return error.retryAfter <= maxRetryAfter && (safe || NOT_FORWARDED.indexOf(error.code) >= 0)
  }

  function pause(error) {
    const ms = error.retryAfter * 1000 + Math.random() * JITTER_MS
    return new Promise((resolve) => setTimeout(resolve, ms))
  }

  // A 401 with nothing in it, or in chunks: the gate's, or the app server's?
  function unsure(res, sent, name, options, call) {
    return check(call).then(() => {
      if (token === sent || call.again) return res
      call.again = true
      return send(name, options, call)
    })
  }

  // Sees to it that the session lives: asks the gate, and logs in if it does not.
  function check(call) {
    if (!paths.session) return Promise.resolve()
    return send('request', { url: paths.session, method: 'GET' }, call)
  }

  // One of the gate's own routes: what it answers, without envelope.
  function ask(options, call) {
    return send('request', options, call).then((res) => {
      if (!succeeded(res)) throw unexpected(res)
      return unwrapped(res.data)
    })
  }

  function unwrapped(body) {
    const wrapped = settings.envelope === 'code-msg-data' && body && body.code === 0 && 'data' in body
    return wrapped ? body.data : body
  }

  // ---- The API ----

  // One at a time, whoever asks.
  function login(options) {
    if (!pending) {
      const over = () => { pending = null }
      pending = attemptLogin(options || {}, retries)
      pending.then(over, over)
    }
    return pending
  }

  function attemptLogin(options, left) {
    const more = typeof settings.loginData === 'function' ? settings.loginData() : settings.loginData
    return invoke('login', without(options, ['data', 'header', 'onTask'])).then((told) => {
      const request = Object.assign({}, options, {
        url: base + paths.login,
        method: 'POST',
        data: Object.assign({}, more, options.data, { code: told.code }),
      })
      return invoke('request', token ? carrying(request, token) : request)
    }).then((res) => {
      const problem = problemIn(res.data)
      const answer = res.data && res.data.data && res.data.data.token ? res.data.data : res.data
      if (!problem && succeeded(res) && answer && answer.token) {
        hold = null
        acceptedAt = Date.now()
        keep(answer.token)
        return answer
      }
      const error = problem ? problemError(problem, res) : unexpected(res)
      if (error.reason === 'retry' && left > 0 && error.retryAfter <= maxRetryAfter) {
        return pause(error).then(() => attemptLogin(options, left - 1))
      }
      if (error.reason === 'retry') {
        const ms = Math.min((error.retryAfter || DEFAULT_RETRY_AFTER) * 1000, MAX_HOLD_MS)
        hold = { since: Date.now(), ms: ms, error: error }
      }
      throw error
    })
  }

  function upload(options) {
    const call = newCall()
    // Megabytes are not sent to find out that the session has ended.
    const quiet = token && Math.abs(Date.now() - acceptedAt) >= quietMs
    const ready = quiet ? check(call) : Promise.resolve()
    return ready.then(() => send('uploadFile', options, call))
  }

  function open(options, sent) {
    return new Promise((resolve, reject) => {
      let opened = false
      const failed = (failure) => reject(offline(failure))
      const given = without(socketOptions(options, sent), ['onTask', 'onOpen', 'onMessage', 'onClose', 'onError', 'complete'])
      const tell = (name, value) => typeof options[name] === 'function' && options[name](value)
      const watch = (task) => {
        tell('onTask', task)
        task.onMessage((message) => tell('onMessage', message))
        task.onClose((closed) => (opened ? tell('onClose', closed) : failed('closed with ' + (closed && closed.code))))
        task.onError((failure) => (opened ? tell('onError', failure) : failed(failure)))
        task.onOpen((res) => {
          opened = true
          tell('onOpen', res)
          resolve(task)
        })
      }
      const task = platform.connectSocket(Object.assign(given, { success() {}, fail: failed }))
      if (task && typeof task.then === 'function') task.then(watch, failed) // Taro
      else watch(task)
    })
  }

  function socketOptions(options, sent) {
    const url = target(options.url, /^http/.test(options.url) ? base : base.replace(/^http/, 'ws')).replace(/^http/, 'ws')
    const absolute = Object.assign({}, options, { url: url })
    if (socketTokenIn === 'websocket-protocol') {
      const own = options.protocols || []
      return Object.assign(absolute, { protocols: ['wxgate.' + sent].concat(own.length ? own : ['wxgate']) })
    }
    if (socketTokenIn.indexOf('query:') !== 0) return carrying(absolute, sent, socketTokenIn)
    const parameter = encodeURIComponent(socketTokenIn.slice(6)) + '=' + encodeURIComponent(sent)
    return Object.assign(absolute, { url: url + (url.indexOf('?') < 0 ? '?' : '&') + parameter })
  }

  function socket(options, call) {
    return tokenFor(call).then((sent) => open(options, sent).catch((failure) => {
      if (failure.code === 'foreign_url' || failure.code === 'aborted') throw failure
      // wx shows no status. The gate is asked whether it is for the session.
      return check(call).then(() => {
        if (token !== sent && !call.again) {
          call.again = true
          return socket(options, call)
        }
        const detail = 'the session is good; the gate, the app server or 服务器域名 refused the socket: ' + failure.detail
        throw new GateError({ code: 'socket_failed', reason: 'refused', detail: detail })
      })
    }))
  }

  function prepareData() {
    const call = newCall()
    return tokenFor(call).then(() => {
      if (call.spent) return undefined
      return invoke('checkSession', {}).then(() => check(call), () => login())
    }).then(() => undefined)
  }

  function reveal(path, detail, names, options) {
    const data = {}
    names.forEach((name) => { if (detail && detail[name]) data[name] = detail[name] })
    if (!data[names[0]]) {
      const why = (detail && detail.errMsg) || 'there is no ' + names[0]
      return Promise.reject(new GateError({ code: 'no_data', reason: 'refused', detail: why }))
    }
    return ask(Object.assign({}, options, { url: path, method: 'POST', data: data }), newCall())
  }

  function logout(options) {
    if (leaving) return leaving.then(() => logout(options))
    const all = !!(options && options.all)
    const before = pending ? pending.catch(() => {}) : Promise.resolve()
    era += 1
    const call = Object.assign(newCall(), { leaves: true, spent: !all })
    const rest = Object.assign(without(options, ['all']), { url: paths.logout + (all ? '?all=true' : ''), method: 'POST' })
    const ended = before.then(() => (token || all ? ask(rest, call) : undefined))
      .catch((error) => { if (all || error.reason !== 'relogin') throw error }) // it had ended before
      .then(() => keep(''))
    leaving = ended.catch(() => {}).then(() => { leaving = null })
    return ended
  }

  return {
    baseUrl: base,
    login: (options) => tell(leaving ? leaving.then(() => login(options)) : login(options), options),
    request: (options) => tell(send('request', options, newCall()), options),
    uploadFile: (options) => tell(upload(options), options),
    downloadFile: (options) => tell(send('downloadFile', options, newCall()), options),
    connectSocket: (options) => tell(socket(options, newCall()), options),
    prepareData: (options) => tell(prepareData(), options),
    decrypt: (detail, options) => tell(reveal(paths.decrypt, detail, ['encryptedData', 'iv', 'rawData', 'signature'], options), options),
    phone: (detail, options) => tell(reveal(paths.phone, detail, ['code'], options), options),
    logout: (options) => tell(logout(options), options),
  }
}

module.exports = { createClient: createClient, GateError: GateError }
