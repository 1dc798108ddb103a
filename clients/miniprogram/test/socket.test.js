// WebSockets: wx shows no status of one that does not open, so the client finds out.
'use strict'

const assert = require('node:assert')
const { after, before, describe, test } = require('node:test')

const { LatePromise, asTaro, asUni } = require('./wx.js')
const { refusal, start } = require('./world.js')

const PLACES = ['authorization', 'header:X-Session', 'query:session', 'websocket-protocol']

for (const place of PLACES) {
  describe(`a socket with its token in ${place}`, () => {
    let world
    before(async () => { world = await start(`session.token_from = ["authorization", "${place}"]`.replace('"authorization", "authorization"', '"authorization"')) })
    after(() => world.end())

    /** A socket that has said and heard something. */
    const converse = (phone, options) => new Promise((resolve, reject) => {
      const heard = []
      phone.gate.connectSocket(Object.assign({
        url: '/chat?room=1',
        onMessage(message) {
          heard.push(message.data)
          if (heard.length === 2) resolve(heard)
        },
      }, options)).then((task) => task.send({ data: '你好' }), reject)
    })

    test('opens, and hears even what is said at once', async () => {
      const phone = world.phone('alice', { socketTokenIn: place })
      const [greeting, echo] = await converse(phone)
      assert.match(greeting, /^hello o/)
      assert.strictEqual(echo, '你好')
      assert.strictEqual(world.app.socketRequest.url, '/chat?room=1')
      const told = JSON.stringify(world.app.socketRequest.rawHeaders)
      assert(!told.includes(phone.token()), told)
    })

    test('may have a subprotocol of the app server', async () => {
      const phone = world.phone('bob', { socketTokenIn: place })
      await converse(phone, { protocols: ['chat'] })
      assert.strictEqual(world.app.socketRequest.headers['sec-websocket-protocol'], 'chat')
    })

    test('opens after one login when its session has ended', async () => {
      const phone = world.phone('carol', { socketTokenIn: place })
      await phone.gate.login()
      await world.kick(phone)
      const closed = []
      await converse(phone, { onClose: (why) => closed.push(why), onError: (why) => closed.push(why) })
      assert.deepStrictEqual([phone.calls.login, phone.calls.connectSocket], [2, 2])
      assert.deepStrictEqual(closed, [])
    })

    test('that is not for the session says so, without a login', async () => {
      const phone = world.phone('dave', { socketTokenIn: place })
      await phone.gate.login()
      const error = await refusal(phone.gate.connectSocket({ url: '/nosocket' }))
      assert.deepStrictEqual([error.code, error.reason], ['socket_failed', 'refused'])
      assert.match(error.detail, /session is good/)
      assert.deepStrictEqual([phone.calls.login, phone.calls.connectSocket], [1, 1])
    })
  })
}

describe('a socket', () => {
  let world
  before(async () => { world = await start() })
  after(() => world.end())

  test('ends with its session, and the next one logs in', async () => {
    const phone = world.phone('alice')
    const closed = new Promise((onClose) => phone.gate.connectSocket({ url: '/chat', onClose }))
    while (!world.app.socketRequest) await new Promise((resolve) => setTimeout(resolve, 5))
    await world.kick(phone)
    assert.strictEqual((await closed).code, 1006)
    await phone.gate.connectSocket({ url: '/chat' })
    assert.strictEqual(phone.calls.login, 2)
  })

  test('hears what is said at once although promises are late, as on old iOS', async () => {
    const phone = world.phone('alice', { globals: { Promise: LatePromise } })
    await phone.gate.login()
    await world.kick(phone)
    const heard = await new Promise((resolve, reject) => {
      phone.gate.connectSocket({ url: '/chat', onMessage: resolve }).catch(reject)
    })
    assert.match(heard.data, /^hello/)
    await world.kick(phone)
    await Promise.all(Array.from({ length: 50 }, () => phone.gate.request({ url: '/me' })))
    assert.strictEqual(phone.calls.login, 3)
  })

  test('takes a whole address, of the gate only', async () => {
    const phone = world.phone('bob')
    await phone.gate.connectSocket({ url: world.base.replace('http', 'ws') + '/chat' })
    await phone.gate.connectSocket({ url: world.base + '/chat' })
    const error = await refusal(phone.gate.connectSocket({ url: 'wss://evil.example/chat' }))
    assert.strictEqual(error.code, 'foreign_url')
  })

  test('is told about by a gate that is gone as offline', async () => {
    const phone = world.phone('carol')
    await phone.gate.login()
    await world.stopGate()
    const error = await refusal(phone.gate.connectSocket({ url: '/chat' }))
    assert.strictEqual(error.reason, 'offline')
    assert(phone.token())
  })
})

for (const [name, adapt] of [['uni-app', asUni], ['Taro', asTaro]]) {
  describe(`under ${name}`, () => {
    let world
    before(async () => { world = await start() })
    after(() => world.end())

    test('everything works as under wx', async () => {
      const phone = world.phone('alice', { adapt })
      await phone.gate.login()
      await world.kick(phone)
      await Promise.all(Array.from({ length: 50 }, () => phone.gate.request({ url: '/me' })))
      assert.strictEqual(phone.calls.login, 2)
      const heard = await new Promise((resolve, reject) => {
        phone.gate.connectSocket({ url: '/chat', onMessage: resolve }).then((task) => task.send({ data: 'x' }), reject)
      })
      assert.match(heard.data, /^hello/)
      assert.strictEqual((await phone.gate.uploadFile({ url: '/upload', filePath: __filename, name: 'file' })).statusCode, 200)
      assert.strictEqual((await phone.gate.downloadFile({ url: '/file' })).statusCode, 200)
      await phone.gate.prepareData()
      await phone.gate.decrypt(await world.wechat('userdata', 'alice'))
      await phone.gate.phone(await world.wechat('phone_code', 'alice'))
      await phone.gate.logout()
      assert.deepStrictEqual([phone.token(), phone.calls.login], [undefined, 2])
    })

    test('a failure is told once, and no promise is left alone', async () => {
      const alone = []
      const note = (error) => alone.push(error)
      process.on('unhandledRejection', note)
      const phone = world.phone('bob', { adapt })
      phone.offline = true
      assert.strictEqual((await refusal(phone.gate.request({ url: '/me' }))).reason, 'offline')
      assert.strictEqual((await refusal(phone.gate.connectSocket({ url: '/chat' }))).reason, 'offline')
      await new Promise((resolve) => setTimeout(resolve, 20))
      process.off('unhandledRejection', note)
      assert.deepStrictEqual(alone, [])
    })
  })
}
