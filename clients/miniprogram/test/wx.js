// A stand-in for `wx` as a mini program sees it, over real HTTP. It imitates what trips clients up:
// every status is a success; uploads answer with text; answers of uploads and downloads have no header;
// header names come in the platform's case; a socket that fails to open tells no status; ten requests at
// once; callbacks come later, success or fail first and then complete.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')

const websocket = require('./websocket.js')

const MAX_AT_ONCE = 10
const METHODS = ['OPTIONS', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT']

const CASES = {
  android: (name) => name,
  ios: (name) => name.replace(/(^|-)([a-z])/g, (all) => all.toUpperCase()),
  lower: (name) => name.toLowerCase(),
}

/**
 * `code()` gives what wx.login shall give, as a promise. `headerCase` is a key of CASES.
 * Of what is returned, `wx` is the platform; the rest is for tests.
 */
function makeWx({ code, headerCase = 'android', envVersion = 'develop' }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wx-'))
  const storage = new Map()
  const agent = new http.Agent({ keepAlive: true })
  const sockets = new Set()
  const phone = {
    wx: null,
    storage,
    folder,
    offline: false,
    /** Whether the session_key of the last login is still good. */
    keyIsGood: true,
    storageIsFull: false,
    /** Requests to these paths wait for the promise before they go out: a bad radio. */
    stuck: {},
    /** How often each API was called. */
    calls: {},
    /** What was asked over HTTP, in order: `GET /path`. */
    asked: [],
    close() {
      agent.destroy()
      sockets.forEach((socket) => socket.destroy())
      fs.rmSync(folder, { recursive: true, force: true })
    },
  }

  // ---- How callbacks are called ----

  const api = (name, run) => (options = {}) => {
    phone.calls[name] = (phone.calls[name] || 0) + 1
    const call = (which, value) => {
      if (typeof options[which] === 'function') options[which](value)
      if (typeof options.complete === 'function') options.complete(value)
    }
    let over = false
    const end = (which, value) => {
      if (over) return
      over = true
      setTimeout(() => call(which, value), 0)
    }
    return run(options, {
      success: (value) => end('success', Object.assign({}, value, { errMsg: name + ':ok' })),
      fail: (why, more) => end('fail', Object.assign({ errMsg: name + ':fail ' + why, errno: 600001 }, more)),
    })
  }

  // ---- HTTP ----

  let running = 0
  const waiting = []
  const turn = (work) => {
    if (running >= MAX_AT_ONCE) return waiting.push(work)
    running += 1
    return work(() => {
      running -= 1
      if (waiting.length > 0) turn(waiting.shift())
    })
  }

  const spell = (headers) => {
    const header = {}
    for (let at = 0; at < headers.length; at += 2) header[CASES[headerCase](headers[at])] = headers[at + 1]
    return header
  }

  // `done` is called with the answer or with why there is none.
  const exchange = (url, { method, header, body, timeout, onHeader }, done) => {
    const task = { abort: () => task.request && task.request.destroy(new Error('abort')) }
    const go = (target, settle) => {
      phone.asked.push(method + ' ' + target.pathname)
      // WeChat sets the Referer itself.
      const headers = Object.assign({}, header, { Referer: 'https://servicewechat.com/wx0123456789abcdef/devtools/page-frame.html' })
      const request = http.request(target, { method, headers, agent, timeout: timeout || 60000 })
      task.request = request
      request.on('timeout', () => request.destroy(new Error('timeout')))
      request.on('error', (error) => settle(error.message))
      request.on('response', (response) => {
        const chunks = []
        if (onHeader) onHeader({ header: spell(response.rawHeaders), statusCode: response.statusCode })
        response.on('data', (chunk) => chunks.push(chunk))
        response.on('error', (error) => settle(error.message))
        response.on('end', () => settle(null, { statusCode: response.statusCode, header: spell(response.rawHeaders), body: Buffer.concat(chunks) }))
      })
      request.end(body)
    }
    turn((free) => {
      const settle = (...result) => { free(); done(...result) }
      if (phone.offline) return setTimeout(settle, 0, 'net::ERR_INTERNET_DISCONNECTED')
      const target = new URL(url)
      const stuck = phone.stuck[target.pathname]
      if (stuck) return stuck.then(() => go(target, settle))
      return go(target, settle)
    })
    return task
  }

  const hasHeader = (header, name) => Object.keys(header || {}).some((key) => key.toLowerCase() === name)

  const query = (data) => new URLSearchParams(data).toString()

  const request = api('request', (options, answer) => {
    const method = (options.method || 'GET').toUpperCase()
    if (!METHODS.includes(method)) return answer.fail('method is invalid')
    const header = Object.assign({}, options.header)
    const { data } = options
    let { url } = options
    let body
    if (data !== undefined && method === 'GET') url += (url.includes('?') ? '&' : '?') + query(data)
    else if (data !== undefined) {
      if (!hasHeader(header, 'content-type')) header['content-type'] = 'application/json'
      body = typeof data === 'string' ? data : JSON.stringify(data)
    }
    return exchange(url, { method, header, body, timeout: options.timeout }, (error, res) => {
      if (error) return answer.fail(error)
      let content = res.body.toString()
      if (options.responseType === 'arraybuffer') {
        content = res.body.buffer.slice(res.body.byteOffset, res.body.byteOffset + res.body.length)
      } else if (options.enableChunked) {
        content = ''
      } else if ((options.dataType || 'json') === 'json') {
        try { content = JSON.parse(content) } catch (_text) {}
      }
      return answer.success({ data: content, statusCode: res.statusCode, header: res.header, cookies: [] })
    })
  })

  // Listeners of a task: on{Name} and off{Name}.
  const listeners = (task, names) => {
    const all = {}
    names.forEach((name) => {
      all[name] = new Set()
      task['on' + name] = (listener) => { all[name].add(listener) }
      task['off' + name] = (listener) => { all[name].delete(listener) }
    })
    return (name, value) => setTimeout(() => all[name].forEach((listener) => listener(value)), 0)
  }

  const transfer = (name, run) => api(name, (options, answer) => {
    const task = {}
    const emit = listeners(task, ['HeadersReceived', 'ProgressUpdate'])
    const under = run(options, answer, (received) => emit('HeadersReceived', { header: received.header }))
    task.abort = () => under.abort()
    return task
  })

  const uploadFile = transfer('uploadFile', (options, answer, onHeader) => {
    const boundary = 'wx' + crypto.randomBytes(8).toString('hex')
    const part = (head, content) => Buffer.concat([Buffer.from(`--${boundary}\r\n${head}\r\n\r\n`), Buffer.from(content), Buffer.from('\r\n')])
    const fields = Object.entries(options.formData || {})
      .map(([name, value]) => part(`Content-Disposition: form-data; name="${name}"`, String(value)))
    const file = part(
      `Content-Disposition: form-data; name="${options.name}"; filename="${path.basename(options.filePath)}"\r\nContent-Type: image/png`,
      fs.readFileSync(options.filePath))
    const body = Buffer.concat([...fields, file, Buffer.from(`--${boundary}--\r\n`)])
    const header = Object.assign({}, options.header, { 'content-type': 'multipart/form-data; boundary=' + boundary })
    return exchange(options.url, { method: 'POST', header, body, timeout: options.timeout, onHeader }, (error, res) => {
      if (error) return answer.fail(error)
      return answer.success({ data: res.body.toString(), statusCode: res.statusCode })
    })
  })

  let files = 0
  const downloadFile = transfer('downloadFile', (options, answer, onHeader) =>
    exchange(options.url, { method: 'GET', header: options.header, timeout: options.timeout, onHeader }, (error, res) => {
      if (error) return answer.fail(error)
      files += 1
      const filePath = options.filePath || path.join(folder, 'tmp_' + files)
      fs.writeFileSync(filePath, res.body)
      const where = options.filePath ? { filePath } : { tempFilePath: filePath }
      return answer.success(Object.assign({ statusCode: res.statusCode }, where))
    }))

  const fileSystem = {
    readFile: api('readFile', (options, answer) => fs.readFile(options.filePath, options.encoding, (error, data) =>
      (error ? answer.fail(error.message) : answer.success({ data })))),
    unlink: api('unlink', (options, answer) => fs.unlink(options.filePath, (error) =>
      (error ? answer.fail(error.message) : answer.success({})))),
  }

  // ---- WebSockets ----

  const connectSocket = api('connectSocket', (options, answer) => {
    const task = {}
    const emit = listeners(task, ['Open', 'Message', 'Error', 'Close'])
    const lost = (why) => {
      emit('Error', { errMsg: why })
      emit('Close', { code: 1006, reason: 'abnormal closure' })
    }
    let wire = null
    let closed = null
    task.send = ({ data }) => wire.write(websocket.frame(websocket.TEXT, data, true))
    task.close = ({ code = 1000 } = {}) => {
      closed = code
      wire.end(websocket.frame(websocket.CLOSE, [code >> 8, code & 255], true))
    }
    // The task is there; whether it opens is another matter.
    answer.success({ socketTaskId: phone.calls.connectSocket })
    if (phone.offline) {
      lost('net::ERR_INTERNET_DISCONNECTED')
      return task
    }
    const url = new URL(options.url)
    phone.asked.push('WS ' + url.pathname)
    url.protocol = url.protocol.replace('ws', 'http')
    const key = crypto.randomBytes(16).toString('base64')
    const header = Object.assign({}, options.header, {
      Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key,
    })
    if (options.protocols) header['Sec-WebSocket-Protocol'] = options.protocols.join(', ')
    const opening = http.request(url, { headers: header })
    opening.on('error', (error) => lost(error.message))
    opening.on('response', (response) => { response.resume(); lost('failed to connect') })
    opening.on('upgrade', (response, socket, head) => {
      wire = socket
      sockets.add(socket)
      socket.on('error', () => {})
      if (options.protocols && !response.headers['sec-websocket-protocol']) {
        socket.destroy()
        return lost('no subprotocol was chosen')
      }
      emit('Open', { header: spell(response.rawHeaders) })
      socket.on('close', () => emit('Close', { code: closed || 1006, reason: '' }))
      return websocket.readFrames(socket, head, (opcode, payload) => {
        if (opcode === websocket.TEXT) emit('Message', { data: payload.toString() })
        if (opcode === websocket.CLOSE) {
          closed = payload.readUInt16BE(0)
          socket.end()
        }
      })
    })
    opening.end()
    return task
  })

  // ---- The rest ----

  const login = api('login', (_options, answer) => {
    if (phone.offline) return answer.fail('net::ERR_INTERNET_DISCONNECTED')
    phone.keyIsGood = true
    return code().then((made) => answer.success({ code: made }), (error) => answer.fail(error.message))
  })

  const checkSession = api('checkSession', (_options, answer) =>
    (phone.keyIsGood && phone.calls.login ? answer.success({}) : answer.fail('session is expired')))

  phone.wx = {
    login,
    checkSession,
    request,
    uploadFile,
    downloadFile,
    connectSocket,
    getFileSystemManager: () => fileSystem,
    getAccountInfoSync: () => ({ miniProgram: { appId: 'wx0123456789abcdef', envVersion, version: '' } }),
    getStorageSync: (key) => (storage.has(key) ? storage.get(key) : ''),
    setStorageSync(key, value) {
      if (phone.storageIsFull) throw new Error('setStorageSync:fail exceed storage max size')
      storage.set(key, value)
    },
    removeStorageSync: (key) => { storage.delete(key) },
    getStorage: api('getStorage', ({ key }, answer) =>
      (storage.has(key) ? answer.success({ data: storage.get(key) }) : answer.fail('data not found'))),
    setStorage: api('setStorage', ({ key, data }, answer) => { storage.set(key, data); answer.success({}) }),
  }
  return phone
}

const ASYNC = ['login', 'checkSession', 'request', 'uploadFile', 'downloadFile', 'connectSocket']

/** `wx` as uni-app gives it: without a callback an API returns a promise and no task. */
function asUni(wx) {
  const uni = Object.assign({}, wx)
  ASYNC.forEach((name) => {
    uni[name] = (options = {}) => {
      if (options.success || options.fail || options.complete) return wx[name](options)
      return new Promise((success, fail) => wx[name](Object.assign({}, options, { success, fail })))
    }
  })
  return uni
}

/** `wx` as Taro gives it: every API returns a promise, and callbacks are called as well. */
function asTaro(wx) {
  const taro = Object.assign({}, wx)
  ASYNC.forEach((name) => {
    taro[name] = (options = {}) => {
      let task
      const promise = new Promise((resolve, reject) => {
        task = wx[name](Object.assign({}, options, {
          success(res) {
            if (options.success) options.success(res)
            resolve(name === 'connectSocket' ? Promise.resolve().then(() => Object.assign(task, res)) : res)
          },
          fail(res) {
            if (options.fail) options.fail(res)
            reject(res)
          },
        }))
      })
      if (name !== 'connectSocket') promise.abort = () => task.abort()
      return promise
    }
  })
  return taro
}

/** A promise as old iOS has it: made of setTimeout, so that it comes after what happens meanwhile. */
class LatePromise extends Promise {
  static get [Symbol.species]() { return Promise }

  then(fulfilled, rejected) {
    return new LatePromise((resolve, reject) => {
      const later = (handler, otherwise) => (value) => setTimeout(() => {
        if (typeof handler !== 'function') return otherwise(value)
        try {
          return resolve(handler(value))
        } catch (error) {
          return reject(error)
        }
      }, 1)
      super.then(later(fulfilled, resolve), later(rejected, reject))
    })
  }
}

module.exports = { makeWx, asUni, asTaro, LatePromise }
