/*!
 * The mini program's side of wxgate. Apache-2.0.
 *
 * One file without dependencies: from npm, or copied. It is written for what runs in a mini program
 * untouched by any compiler: no async functions, no `?.`, no `fetch`, no `URL`. It knows no page and
 * no business of the app, and it sends the token to the gate and to nobody else.
 */
'use strict'

const PROBLEM = 'urn:wxgate:problem:'

// The actions of problems that are reasons; `fix` and `none` are refusals.
const REASONS = ['relogin', 'reacquire', 'retry']

// With these the app server has not seen the request, so that anything may be sent again.
const NOT_FORWARDED = ['rate_limited', 'overloaded', 'wechat_unavailable', 'upstream_unreachable']

// What the gate says when it names no other time, in seconds.
const DEFAULT_RETRY_AFTER = 2

// No login is held back for longer, whatever the gate or the clock of the phone says.
const MAX_HOLD_MS = 60000

// Spreads those who were all told the same time.
const JITTER_MS = 1000

const PATHS = { login: '/wx/login', decrypt: '/wx/decrypt', phone: '/wx/phone', session: '/wx/session', logout: '/wx/logout' }

// Not a class: compilers to ES5 break `instanceof` for classes that extend Error.
function GateError(fields) {
  Object.assign(this, { name: 'GateError', status: 0, detail: '', requestId: '' }, fields)
  this.message = `${this.code} ${this.status || ''} ${this.detail}`.replace(/ +/g, ' ')
  this.stack = new Error(this.message).stack
}
GateError.prototype = Object.create(Error.prototype)
GateError.prototype.constructor = GateError

const refusal = (code, detail) => new GateError({ code, reason: 'refused', detail })

// `fail` of a wx API: no answer came, and nothing is known about the session.
function offline(failure) {
  const detail = String((failure && (failure.errMsg || failure.message)) || failure)
  const code = /time(d )?out/.test(detail) ? 'timeout' : /abort/.test(detail) ? 'aborted' : 'network'
  return new GateError({ code, reason: 'offline', detail })
}

// Header names come in any case: every platform has its own.
function headerOf(res, name) {
  const header = res.header || {}
  return header[Object.keys(header).find((key) => key.toLowerCase() === name)]
}

function utf8(buffer) {
  const escaped = (byte) => '%' + (byte < 16 ? '0' : '') + byte.toString(16)
  return decodeURIComponent(Array.from(new Uint8Array(buffer)).map(escaped).join(''))
}

// JSON as a value, anything else as it is.
function parsed(data) {
  try {
    const text = Object.prototype.toString.call(data) === '[object ArrayBuffer]' ? utf8(data) : data
    return typeof text === 'string' ? JSON.parse(text) : data
  } catch (notJson) {
    return data
  }
}

// The problem document in an answer, with or without an envelope.
function problemIn(data) {
  const body = parsed(data)
  return [body, body && body.data].find((it) => it && String(it.type).indexOf(PROBLEM) === 0) || null
}

function errorOf(problem, res) {
  const reason = REASONS.indexOf(problem.action) < 0 ? 'refused' : problem.action
  const error = { code: problem.code, status: res.statusCode, reason, detail: problem.detail, requestId: problem.request_id, data: problem }
  if (reason === 'retry') {
    const after = parseInt(headerOf(res, 'retry-after'), 10)
    error.retryAfter = after >= 0 ? after : DEFAULT_RETRY_AFTER
  }
  return new GateError(error)
}

const succeeded = (res) => res.statusCode >= 200 && res.statusCode < 300

function unexpected(res) {
  const detail = 'no answer of the gate; is baseUrl right?'
  const reason = res.statusCode >= 500 ? 'retry' : 'refused'
  return new GateError({ code: 'unexpected_answer', status: res.statusCode, reason, detail, data: res.data })
}

function without(options, names) {
  const rest = Object.assign({}, options)
  names.forEach((name) => delete rest[name])
  return rest
}

// For callers that give callbacks, as wx's own APIs take them.
function tell(promise, options) {
  const { success, fail, complete } = options || {}
  const call = (callback) => (value) => { if (callback) callback(value) }
  if (success || fail || complete) {
    promise.then(call(success), call(fail)).then(() => promise).then(call(complete), call(complete))
  }
  return promise
}

// The address of the gate: one, or one for each of develop, trial and release.
function chooseBase(baseUrl, platform) {
  let chosen = baseUrl
  if (baseUrl && typeof baseUrl === 'object') {
    let version
    try {
      version = platform.getAccountInfoSync().miniProgram.envVersion
    } catch (unknown) {
      version = 'release' // an old base library, or none of WeChat
    }
    chosen = baseUrl[version] || baseUrl.release
  }
  if (!/^https?:\/\/[^/?#]/.test(chosen)) throw new TypeError('baseUrl: no http:// or https:// address of the gate')
  return chosen.replace(/\/+$/, '')
}

function createClient(settings) {
  const { retries, maxRetryAfter, quietSeconds, tokenIn } =
    Object.assign({ retries: 1, maxRetryAfter: 5, quietSeconds: 60, tokenIn: 'authorization' }, settings)
  const platform = settings.wx || (typeof wx === 'undefined' ? uni : wx)
  const base = chooseBase(settings.baseUrl, platform)
  const paths = Object.assign({}, PATHS, settings.paths)
  const socketTokenIn = settings.socketTokenIn || tokenIn
  const key = 'wxgate:' + base

  let token = stored()
  let acceptedAt = 0 // when the gate last took the token, by the clock of the phone
  let pending = null // the login that is under way
  let leaving = null // the logout that is under way
  let hold = null // after a login that was told to wait: { since, ms, error }
  let era = 0 // counts logouts

  // ---- The token ----

  function stored() {
    try {
      return String(platform.getStorageSync(key) || '')
    } catch (broken) {
      return ''
    }
  }

  function keep(value) {
    token = value
    try {
      if (value) platform.setStorageSync(key, value)
      else platform.removeStorageSync(key)
    } catch (full) {
      // It costs a login at the next start, no more.
    }
  }

  // Gives up a token, unless there is another one meanwhile: here, or of an independent subpackage.
  function forget(refused) {
    if (token !== refused) return
    const other = stored()
    if (other && other !== refused) token = other
    else keep('')
  }

  function carrying(options, value, place) {
    const name = (place || tokenIn).indexOf('header:') === 0 ? (place || tokenIn).slice(7) : ''
    const own = name ? { [name]: value } : { Authorization: 'Bearer ' + value }
    return Object.assign({}, options, { header: Object.assign({}, options.header, own) })
  }

  // What one call of the API may still do. `spent`: it has had its login.
  const newCall = (more) => Object.assign({ era, spent: false, again: false, retries }, more)

  function tokenFor(call) {
    if (leaving && !call.leaves) return leaving.then(() => tokenFor(call))
    if (token) return Promise.resolve(token)
    if (call.era !== era) return Promise.reject(refusal('logged_out', 'logged out meanwhile'))
    call.spent = true
    const waited = hold ? Date.now() - hold.since : -1
    if (!pending && waited >= 0 && waited < hold.ms) return Promise.reject(hold.error)
    return login().then(() => token)
  }

  // ---- Calls ----

  function target(url, from) {
    const text = String(url)
    if (text.charAt(0) === '/') return from + text
    if (text === from || text.indexOf(from + '/') === 0 || text.indexOf(from + '?') === 0) return text
    throw refusal('foreign_url', `${text} is not below ${from}, which alone gets the token`)
  }

  // A wx API as a promise of its answer.
  function invoke(name, options) {
    return new Promise((resolve, reject) => {
      let header
      const task = platform[name](Object.assign(without(options, ['onTask', 'complete']), {
        success: (res) => resolve(res.header ? res : Object.assign(res, { header })),
        fail: (failure) => reject(offline(failure)),
      }))
      if (!task) return
      if (task.catch) task.catch(() => {}) // Taro's tasks are promises, too
      // The answers of wx.uploadFile and wx.downloadFile have no header of their own.
      if (name !== 'request' && task.onHeadersReceived) task.onHeadersReceived((res) => { header = res.header })
      if (options.onTask) options.onTask(task)
    })
  }

  // The problem in an answer; null: there is none; undefined: nobody can tell.
  function findProblem(name, res) {
    if (name === 'downloadFile' && res.statusCode >= 400) return findProblemInFile(res.tempFilePath || res.filePath)
    if (name === 'uploadFile') res.data = parsed(res.data)
    const unseen = res.data === undefined || res.data === null || res.data === ''
    return Promise.resolve(unseen ? undefined : res.statusCode >= 400 ? problemIn(res.data) : null)
  }

  function findProblemInFile(filePath) {
    return new Promise((resolve) => {
      const files = platform.getFileSystemManager()
      const success = (read) => {
        const problem = problemIn(read.data)
        const done = () => resolve(problem)
        // It is not the file that was asked for, and shall not be taken for it.
        if (problem) files.unlink({ filePath, success: done, fail: done })
        else done()
      }
      files.readFile({ filePath, encoding: 'utf8', success, fail: () => resolve(undefined) })
    }).catch(() => undefined)
  }

  function send(name, options, call) {
    const again = () => send(name, options, call)
    const safe = name !== 'uploadFile' && /^(GET|HEAD|OPTIONS)$/i.test(options.method || 'GET')
    return tokenFor(call).then((sent) => {
      const absolute = Object.assign({}, options, { url: target(options.url, base) })
      return invoke(name, carrying(absolute, sent)).then((res) => findProblem(name, res).then((problem) => {
        if (problem) return refused(errorOf(problem, res), sent, call, safe, again)
        // With nothing in it, or in chunks: the gate's, or the app server's?
        if (problem === undefined && res.statusCode === 401) return afterCheck(sent, call, again, () => res)
        if (token === sent) acceptedAt = Date.now()
        return res
      }))
    })
  }

  function refused(error, sent, call, safe, again) {
    if (error.reason === 'relogin') {
      forget(sent)
      if (call.spent) throw error
      call.spent = true
      return again()
    }
    const repeatable = safe || NOT_FORWARDED.indexOf(error.code) >= 0
    if (repeatable && call.retries > 0 && isShort(error)) {
      call.retries -= 1
      return pause(error).then(again)
    }
    // The session's key is not the one that the data was made with. After a login, data that is obtained
    // anew can be read.
    const fail = () => { throw error }
    return error.code === 'decrypt_failed' && !call.spent ? login().then(fail, fail) : fail()
  }

  const isShort = (error) => error.reason === 'retry' && error.retryAfter <= maxRetryAfter

  function pause(error) {
    return new Promise((resolve) => setTimeout(resolve, error.retryAfter * 1000 + Math.random() * JITTER_MS))
  }

  // Asks the gate whether the session lives, which logs in if it does not.
  function check(call) {
    return paths.session ? send('request', { url: paths.session }, call) : Promise.resolve()
  }

  // Was it for the session? Then once again with the new one.
  function afterCheck(sent, call, again, otherwise) {
    return check(call).then(() => {
      if (token === sent || call.again) return otherwise()
      call.again = true
      return again()
    })
  }

  // One of the gate's own routes: what it answers, without envelope.
  function ask(url, options, call) {
    return send('request', Object.assign({}, options, { url, method: 'POST' }), call).then((res) => {
      if (!succeeded(res)) throw unexpected(res)
      const wrapped = settings.envelope === 'code-msg-data' && res.data && res.data.code === 0
      return wrapped ? res.data.data : res.data
    })
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
    return invoke('login', options.timeout ? { timeout: options.timeout } : {}).then((told) => {
      const data = Object.assign({}, more, options.data, { code: told.code })
      const request = Object.assign({}, options, { url: base + paths.login, method: 'POST', data })
      return invoke('request', token ? carrying(request, token) : request)
    }).then((res) => {
      const body = res.data || {}
      const answer = body.token ? body : body.data || {}
      if (succeeded(res) && answer.token) {
        hold = null
        acceptedAt = Date.now()
        keep(answer.token)
        return answer
      }
      const problem = problemIn(body)
      const error = problem ? errorOf(problem, res) : unexpected(res)
      if (left > 0 && isShort(error)) return pause(error).then(() => attemptLogin(options, left - 1))
      if (error.reason === 'retry') {
        const ms = Math.min((error.retryAfter || DEFAULT_RETRY_AFTER) * 1000, MAX_HOLD_MS)
        hold = { since: Date.now(), ms, error }
      }
      throw error
    })
  }

  function upload(options) {
    const call = newCall()
    // Megabytes are not sent to find out that the session has ended.
    const quiet = token && Math.abs(Date.now() - acceptedAt) >= quietSeconds * 1000
    return (quiet ? check(call) : Promise.resolve()).then(() => send('uploadFile', options, call))
  }

  function open(options, sent) {
    return new Promise((resolve, reject) => {
      let opened = false
      const fail = (failure) => reject(offline(failure))
      const say = (name, value) => { if (options[name]) options[name](value) }
      const watch = (task) => {
        say('onTask', task)
        task.onMessage((message) => say('onMessage', message))
        task.onClose((closed) => (opened ? say('onClose', closed) : fail('closed')))
        task.onError((failure) => (opened ? say('onError', failure) : fail(failure)))
        task.onOpen((res) => {
          opened = true
          say('onOpen', res)
          resolve(task)
        })
      }
      const given = without(socketOptions(options, sent), ['onTask', 'onOpen', 'onMessage', 'onClose', 'onError', 'complete'])
      const task = platform.connectSocket(Object.assign(given, { success() {}, fail }))
      if (task.then) task.then(watch, fail) // Taro
      else watch(task)
    })
  }

  function socketOptions(options, sent) {
    const url = target(String(options.url).replace(/^ws/, 'http'), base).replace(/^http/, 'ws')
    const absolute = Object.assign({}, options, { url })
    if (socketTokenIn === 'websocket-protocol') {
      const protocols = ['wxgate.' + sent].concat(options.protocols || 'wxgate')
      return Object.assign(absolute, { protocols })
    }
    if (socketTokenIn.indexOf('query:') !== 0) return carrying(absolute, sent, socketTokenIn)
    return Object.assign(absolute, { url: `${url}${url.indexOf('?') < 0 ? '?' : '&'}${socketTokenIn.slice(6)}=${sent}` })
  }

  function socket(options, call) {
    return tokenFor(call).then((sent) => open(options, sent).catch((failure) => {
      if (failure.reason !== 'offline') throw failure
      // wx shows no status. The gate is asked whether it is for the session.
      return afterCheck(sent, call, () => socket(options, call), () => {
        throw refusal('socket_failed', 'the session is good; the gate, the app server or 服务器域名 refused: ' + failure.detail)
      })
    }))
  }

  function prepareData() {
    const call = newCall()
    const good = () => invoke('checkSession', {}).then(() => check(call), () => login())
    return tokenFor(call).then(() => (call.spent ? null : good())).then(() => {})
  }

  function reveal(path, given, names, options) {
    const data = {}
    names.forEach((name) => { if (given && given[name]) data[name] = given[name] })
    if (data[names[0]]) return ask(path, Object.assign({}, options, { data }), newCall())
    return Promise.reject(refusal('no_data', (given && given.errMsg) || 'there is no ' + names[0]))
  }

  function logout(options) {
    if (leaving) return leaving.then(() => logout(options))
    const all = options && options.all
    const before = pending ? pending.catch(() => {}) : Promise.resolve()
    era += 1
    const call = newCall({ leaves: true, spent: !all })
    const end = () => ask(paths.logout + (all ? '?all=true' : ''), without(options, ['all']), call)
    const ended = before.then(() => (token || all ? end() : null))
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
    decrypt: (data, options) => tell(reveal(paths.decrypt, data, ['encryptedData', 'iv', 'rawData', 'signature'], options), options),
    phone: (detail, options) => tell(reveal(paths.phone, detail, ['code'], options), options),
    logout: (options) => tell(logout(options), options),
  }
}

module.exports = { createClient, GateError }
