// A real gate between a simulated WeChat and an app server of a few lines, all on this machine.
'use strict'

const assert = require('node:assert')
const { once } = require('node:events')
const { spawn } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const vm = require('node:vm')

const { makeWx } = require('./wx.js')
const websocket = require('./websocket.js')

const APPID = 'wx0123456789abcdef'
const CLIENT = fs.readFileSync(path.join(__dirname, '../lib/index.js'), 'utf8')
const WXGATE = process.env.WXGATE

/** Longest wait for a program to start. */
const START_MS = 20000

/** Longest run of a file of tests; a good one takes a few seconds. */
const RUN_MS = 60000

// However a file of tests ends, its programs do.
const children = new Set()
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')))
setTimeout(() => {
  console.error(`not over after ${RUN_MS} ms`)
  process.exit(1)
}, RUN_MS).unref()

// ---- Programs ----

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

function run(args) {
  const child = spawn(WXGATE, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.add(child)
  child.on('exit', () => children.delete(child))
  child.stdout.setEncoding('utf8')
  const gone = once(child, 'exit')
  return { child, end() { child.kill('SIGKILL'); return gone } }
}

/** Waits for a line that a program prints. */
function printed(program, pattern) {
  return new Promise((resolve, reject) => {
    let text = ''
    const late = setTimeout(() => reject(new Error('not printed: ' + pattern + '\n' + text)), START_MS)
    program.child.on('exit', () => reject(new Error('it ended:\n' + text)))
    program.child.stdout.on('data', (more) => {
      text += more
      const found = pattern.exec(text)
      if (found) {
        clearTimeout(late)
        resolve(found)
        text = ''
      }
    })
  })
}

// ---- The app server ----

function makeApp() {
  const app = {
    /** Requests as they came, without those of sockets. */
    seen: [],
    /** Uploads that came whole, in bytes. */
    uploads: [],
    server: http.createServer((request, response) => {
      const chunks = []
      request.on('data', (chunk) => chunks.push(chunk))
      request.on('end', () => {
        const body = Buffer.concat(chunks)
        app.seen.push({ method: request.method, url: request.url, headers: request.headers, body: body.toString() })
        const url = new URL(request.url, 'http://app')
        const answer = (status, value, type = 'application/json') => {
          const text = type === 'application/json' ? JSON.stringify(value) : value
          // An answer without a length would be broken off at the end of its session.
          response.writeHead(status, { 'Content-Type': type, 'Content-Length': text.length })
          response.end(text)
        }
        if (url.pathname === '/upload') app.uploads.push(body.length)
        if (url.pathname === '/status') return answer(Number(url.searchParams.get('is')), { error: 'mine' })
        if (url.pathname === '/empty401') { response.writeHead(401); return response.end() }
        if (url.pathname === '/file') return answer(200, 'a picture', 'image/png')
        if (url.pathname === '/hang') return undefined
        return answer(200, { openid: request.headers['x-wx-openid'] || null, bytes: body.length })
      })
    }),
  }
  app.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {})
    app.socketRequest = request
    const offered = (request.headers['sec-websocket-protocol'] || '').split(',').map((it) => it.trim())
    const chosen = offered.includes('chat') ? 'Sec-WebSocket-Protocol: chat\r\n' : ''
    if (request.url.startsWith('/nosocket')) return socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `Sec-WebSocket-Accept: ${websocket.acceptFor(request.headers['sec-websocket-key'])}\r\n${chosen}\r\n`)
    // At once, as servers do that greet.
    socket.write(websocket.frame(websocket.TEXT, 'hello ' + request.headers['x-wx-openid']))
    return websocket.readFrames(socket, head, (opcode, payload) => {
      if (opcode === websocket.TEXT) socket.write(websocket.frame(websocket.TEXT, payload))
      else socket.end(websocket.frame(websocket.CLOSE, payload))
    })
  })
  return app
}

// ---- The client ----

/**
 * The client as a copied file: in a context that has nothing but `wx` and what JavaScript and mini
 * programs have. Time is the test's: pauses end at once and are written down, and the clock can be set.
 */
function loadClient(platform, time, more) {
  class TestDate extends Date {
    static now() { return Date.now() + time.ahead }
  }
  const module = { exports: {} }
  const context = vm.createContext(Object.assign({
    wx: platform,
    module,
    exports: module.exports,
    Date: TestDate,
    setTimeout(work, ms) {
      time.pauses.push(ms)
      time.ahead += ms
      return setTimeout(work, 0)
    },
  }, more))
  vm.runInContext(CLIENT, context, { filename: 'wxgate.js' })
  return module.exports
}

// ---- All of it ----

/** Starts a world. `settings` is more of the configuration, in TOML; `upstream` is another app server. */
async function start(settings = '') {
  if (!WXGATE) throw new Error('WXGATE: the path of the wxgate program, such as target/debug/wxgate')
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wxgate-'))
  const app = makeApp()
  app.server.listen(0, '127.0.0.1')
  await once(app.server, 'listening')
  const wechat = run(['mock-wechat', '--listen', '127.0.0.1:0'])
  const [, mock] = await printed(wechat, /WeChat on (http:\S+)/)
  const port = await freePort()
  const file = path.join(folder, 'wxgate.toml')
  fs.writeFileSync(file, `
server.listen = "127.0.0.1:${port}"
server.drain_timeout = "1s"
upstream.url = "http://127.0.0.1:${app.server.address().port}"
wechat.base_url = "${mock}"
admin.listen = ""
log.format = "json"
log.access = false
${settings}
[[apps]]
appid = "${APPID}"
secret = "a-secret"
`)
  let gate = run(['run', '-c', file])
  await printed(gate, /listening/)
  const base = `http://127.0.0.1:${port}`
  const phones = []

  const order = async (route, body, method = 'POST') => {
    const sent = await fetch(mock + '/_mock/' + route, { method, body: body && JSON.stringify(body) })
    assert(sent.ok, `${route}: ${sent.status}`)
    return sent.status === 204 ? null : sent.json()
  }

  const world = {
    app,
    base,
    order,
    /** What WeChat does for a user: `rotate`, `userdata`, `phone`, `phone_code`. */
    wechat: (route, user) => order(route, { appid: APPID, user }),
    /** Logins that WeChat was asked about. */
    logins: async () => (await order('calls', undefined, 'GET'))['/sns/jscode2session'],
    misbehave: (times, how, api) => order('misbehave', { times, with: how, api }),
    behave: () => order('misbehave', undefined, 'DELETE'),

    /** A phone of a user with the mini program on it. */
    phone(user, { adapt = (wx) => wx, globals, headerCase, envVersion, ...options } = {}) {
      const code = async () => (await order('code', { appid: APPID, user })).code
      const phone = makeWx({ code, headerCase, envVersion })
      phones.push(phone)
      phone.time = { ahead: 0, pauses: [] }
      /** The mini program is started (again). */
      phone.launch = (more) => {
        const client = loadClient(phone.wx, phone.time, globals)
        phone.GateError = client.GateError
        phone.gate = client.createClient({ baseUrl: base, wx: adapt(phone.wx), ...options, ...more })
        return phone.gate
      }
      phone.token = () => phone.storage.get('wxgate:' + base)
      phone.launch()
      return phone
    },

    /** Ends all sessions of the user of a phone, behind the back of the client. */
    async kick(phone) {
      const authorization = 'Bearer ' + phone.token()
      const sent = await fetch(base + '/wx/session?all=true', { method: 'DELETE', headers: { authorization } })
      assert(sent.ok, `${sent.status}`)
    },

    /** A gate that forgets all sessions. */
    async restart() {
      await gate.end()
      gate = run(['run', '-c', file])
      await printed(gate, /listening/)
    },

    async stopGate() { await gate.end() },

    async end() {
      phones.forEach((phone) => phone.close())
      await Promise.all([gate.end(), wechat.end()])
      app.server.closeAllConnections()
      app.server.close()
      fs.rmSync(folder, { recursive: true, force: true })
    },
  }
  return world
}

/** What a promise is rejected with. */
async function refusal(promise) {
  try {
    await promise
  } catch (error) {
    return error
  }
  return assert.fail('it was not refused')
}

module.exports = { APPID, CLIENT, start, refusal, loadClient }
