// Trouble: how calls end that cannot succeed, and what is done again.
'use strict'

const assert = require('node:assert')
const http = require('node:http')
const { once } = require('node:events')
const { after, before, describe, test } = require('node:test')

const { refusal, start } = require('./world.js')

const UNKNOWN = 'wxg_' + 'a'.repeat(43)

describe('a gate that is in trouble', () => {
  let world
  before(async () => { world = await start('login.retry_window = "0"\nlimits.logins_per_app = "40/1m"') })
  after(() => world.end())

  test('is asked once more after the time that it names, and a little more', async () => {
    const phone = world.phone('alice')
    // Twice: the gate itself asks WeChat once more.
    await world.misbehave(2, { errcode: -1 })
    await phone.gate.request({ url: '/me' })
    assert.strictEqual(phone.calls.login, 2)
    assert.strictEqual(phone.time.pauses.length, 1)
    assert(phone.time.pauses[0] >= 2000 && phone.time.pauses[0] <= 3000, phone.time.pauses)
  })

  test('is given up after that, and asked no more until its time is over', async () => {
    const phone = world.phone('bob')
    await world.misbehave(4, { errcode: -1 })
    const error = await refusal(phone.gate.request({ url: '/me' }))
    assert.deepStrictEqual([error.code, error.status, error.reason, error.retryAfter], ['wechat_unavailable', 503, 'retry', 2])
    assert.match(error.requestId, /.{8}/)
    const logins = phone.calls.login
    assert.strictEqual((await refusal(phone.gate.request({ url: '/me' }))).code, 'wechat_unavailable')
    assert.strictEqual(phone.calls.login, logins)
    await world.behave()
    phone.time.ahead += 2000
    assert.strictEqual((await phone.gate.request({ url: '/me' })).statusCode, 200)
  })

  test('that names a long time is not waited for', async () => {
    const phone = world.phone('carol', { headerCase: 'ios' })
    await world.misbehave(1, { errcode: 45011 })
    const calls = Array.from({ length: 50 }, () => refusal(phone.gate.request({ url: '/me' })))
    for (const error of await Promise.all(calls)) {
      assert.deepStrictEqual([error.code, error.status, error.reason, error.retryAfter], ['rate_limited', 429, 'retry', 60])
    }
    assert.deepStrictEqual([phone.calls.login, phone.time.pauses.length], [1, 0])
  })

  test('that WeChat refuses tells the phone that nothing can be done', async () => {
    const phone = world.phone('dave')
    await world.misbehave(1, { errcode: 40226 })
    const error = await refusal(phone.gate.login())
    assert.deepStrictEqual([error.code, error.reason], ['user_blocked', 'refused'])
  })

  test('that limits logins says when to come back', async () => {
    const phone = world.phone('erin')
    let error
    for (let at = 0; at < 41 && !error; at += 1) error = await phone.gate.login().then(() => undefined, (refused) => refused)
    assert.deepStrictEqual([error.code, error.status, error.reason], ['rate_limited', 429, 'retry'])
    assert(error.retryAfter >= 1)
  })
})

describe('a gate whose app server is gone', () => {
  let world
  before(async () => {
    world = await start()
    world.app.server.close()
    world.app.server.closeAllConnections()
  })
  after(() => world.end())

  test('is asked once more, and then it is the caller who decides', async () => {
    const phone = world.phone('alice')
    const error = await refusal(phone.gate.request({ url: '/orders', method: 'POST', data: {} }))
    assert.deepStrictEqual([error.code, error.status, error.reason], ['upstream_unreachable', 502, 'retry'])
    assert.strictEqual(phone.time.pauses.length, 1)
    assert.strictEqual(phone.calls.login, 1)
  })
})

describe('an app server that may have seen the request', () => {
  let world
  before(async () => { world = await start('upstream.response_timeout = "200ms"') })
  after(() => world.end())

  test('does not see a POST twice, but a GET', async () => {
    const phone = world.phone('alice')
    for (const [method, times] of [['POST', 1], ['GET', 2]]) {
      const seen = world.app.seen.length
      const error = await refusal(phone.gate.request({ url: '/hang', method }))
      assert.deepStrictEqual([error.code, error.reason], ['upstream_timeout', 'retry'])
      assert.strictEqual(world.app.seen.length - seen, times, method)
    }
  })
})

// Over HTTP/2, and from other gates, names of headers are in lower case; and this gate has one time for all.
describe('a gate that is busy', () => {
  let gate
  let world
  before(async () => {
    world = await start()
    const problem = { type: 'urn:wxgate:problem:overloaded', title: '', status: 503, code: 'overloaded', detail: '', action: 'retry', request_id: 'r1' }
    gate = http.createServer((request, response) => {
      request.resume()
      response.writeHead(503, { 'Content-Type': 'application/problem+json', 'Retry-After': '4' })
      response.end(JSON.stringify(problem))
    }).listen(0, '127.0.0.1')
    await once(gate, 'listening')
  })
  after(async () => {
    gate.closeAllConnections()
    gate.close()
    await world.end()
  })

  test('is waited for as long as it says, although wx keeps headers of uploads apart', async () => {
    const baseUrl = `http://127.0.0.1:${gate.address().port}`
    for (const headerCase of ['android', 'ios', 'lower']) {
      const phone = world.phone('alice', { headerCase })
      phone.storage.set('wxgate:' + baseUrl, UNKNOWN)
      const client = phone.launch({ baseUrl, quietSeconds: Infinity })
      for (const call of [
        () => client.request({ url: '/me' }),
        () => client.downloadFile({ url: '/file' }),
        () => client.uploadFile({ url: '/upload', filePath: __filename, name: 'file' }),
      ]) {
        phone.time.pauses.length = 0
        assert.strictEqual((await refusal(call())).retryAfter, 4)
        assert(phone.time.pauses[0] >= 4000 && phone.time.pauses[0] <= 5000, `${phone.time.pauses}`)
        assert.strictEqual(phone.time.pauses.length, 1)
      }
    }
  })
})

// No real gate does so; a client must survive one all the same.
describe('a gate that always says relogin', () => {
  let gate
  let world
  const asked = { logins: 0, others: 0 }
  before(async () => {
    world = await start()
    gate = http.createServer((request, response) => {
      const login = request.url === '/wx/login'
      asked[login ? 'logins' : 'others'] += 1
      request.resume()
      response.writeHead(login ? 200 : 401, { 'Content-Type': login ? 'application/json' : 'application/problem+json' })
      response.end(JSON.stringify(login
        ? { token: 'wxg_' + String(asked.logins).padStart(43, '0'), token_type: 'Bearer', expires_in: 60, appid: 'wx0' }
        : { type: 'urn:wxgate:problem:session_expired', title: '', status: 401, code: 'session_expired', detail: 'no', action: 'relogin', request_id: 'r1' }))
    }).listen(0, '127.0.0.1')
    await once(gate, 'listening')
  })
  after(async () => {
    gate.closeAllConnections()
    gate.close()
    await world.end()
  })

  const calls = {
    request: (client) => client.request({ url: '/me' }),
    uploadFile: (client) => client.uploadFile({ url: '/upload', filePath: __filename, name: 'file' }),
    downloadFile: (client) => client.downloadFile({ url: '/file' }),
    connectSocket: (client) => client.connectSocket({ url: '/chat' }),
    prepareData: (client) => client.prepareData(),
    decrypt: (client) => client.decrypt({ encryptedData: 'a', iv: 'b' }),
    phone: (client) => client.phone({ code: 'a' }),
  }
  for (const [name, call] of Object.entries(calls)) {
    test(`has one login for each call of ${name}`, async () => {
      const baseUrl = `http://127.0.0.1:${gate.address().port}`
      for (const kept of ['', UNKNOWN]) {
        const phone = world.phone('alice')
        phone.storage.set('wxgate:' + baseUrl, kept)
        if (kept) phone.calls.login = 1 // so that wx.checkSession knows of one
        const client = phone.launch({ baseUrl })
        for (let times = 0; times < 3; times += 1) {
          asked.logins = 0
          asked.others = 0
          const error = await call(client).then(() => null, (refused) => refused)
          // It asks nothing once it has logged in.
          if (error || name !== 'prepareData') assert(error && error.reason === 'relogin', `${error}`)
          assert.strictEqual(asked.logins, 1)
          assert(asked.others <= 3, `${asked.others} requests`)
        }
      }
    })
  }
})
