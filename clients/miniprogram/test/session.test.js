// Sessions: when the client logs in, when it does not, and where the token goes.
'use strict'

const assert = require('node:assert')
const { after, before, describe, test } = require('node:test')

const { refusal, start } = require('./world.js')

/** Has requests to a path wait until what is returned is called. */
function stick(phone, path) {
  let release
  phone.stuck[path] = new Promise((resolve) => { release = resolve })
  return () => {
    delete phone.stuck[path]
    release()
  }
}

const UNKNOWN = 'wxg_' + 'a'.repeat(43)

describe('a session', () => {
  let world
  before(async () => { world = await start() })
  after(() => world.end())

  test('begins with the first request, and the app server learns who it is', async () => {
    const phone = world.phone('alice')
    const res = await phone.gate.request({ url: '/me?x=1', method: 'POST', data: { a: 1 }, header: { 'X-Mine': 'yes' } })
    assert.strictEqual(res.statusCode, 200)
    assert.match(res.data.openid, /^o/)
    const seen = world.app.seen.at(-1)
    assert.deepStrictEqual([seen.url, seen.headers['x-mine'], seen.body], ['/me?x=1', 'yes', '{"a":1}'])
    assert.strictEqual(seen.headers.authorization, undefined)
    assert.match(phone.token(), /^wxg_.{43}$/)
  })

  test('is taken from storage at the next start', async () => {
    const phone = world.phone('bob')
    await phone.gate.login()
    await phone.launch().request({ url: '/me' })
    assert.strictEqual(phone.calls.login, 1)
  })

  test('works with storage that is full', async () => {
    const phone = world.phone('bob')
    phone.storageIsFull = true
    await phone.gate.request({ url: '/me' })
    await phone.gate.request({ url: '/me' })
    assert.strictEqual(phone.calls.login, 1)
  })

  test('that is new is not given up for the refusal of the old one', async () => {
    const phone = world.phone('bob')
    await phone.gate.login()
    await world.kick(phone)
    phone.storageIsFull = true
    const radio = stick(phone, '/late')
    const late = phone.gate.request({ url: '/late' })
    await phone.gate.request({ url: '/me' })
    radio()
    assert.strictEqual((await late).statusCode, 200)
    assert.strictEqual(phone.calls.login, 2)
  })

  test('is one, however many calls begin without any', async () => {
    const phone = world.phone('carol')
    await Promise.all(Array.from({ length: 50 }, () => phone.gate.request({ url: '/me' })))
    assert.strictEqual(phone.calls.login, 1)
  })

  for (const headerCase of ['android', 'ios', 'lower']) {
    test(`that ended makes one login for 50 parallel calls (${headerCase})`, async () => {
      const phone = world.phone('dave', { headerCase })
      await phone.gate.login()
      await world.kick(phone)
      const before = await world.logins()
      const all = await Promise.all(Array.from({ length: 50 }, () => phone.gate.request({ url: '/me' })))
      assert(all.every((res) => res.statusCode === 200 && res.data.openid))
      assert.strictEqual(await world.logins(), before + 1)
      assert.strictEqual(phone.calls.login, 2)
    })
  }

  test('that the gate does not know is replaced without a word', async () => {
    const phone = world.phone('erin')
    phone.storage.set('wxgate:' + world.base, UNKNOWN)
    const res = await phone.launch().request({ url: '/me' })
    assert.strictEqual(res.statusCode, 200)
    assert.notStrictEqual(phone.token(), UNKNOWN)
  })

  test('that another part of the mini program replaced in storage is taken from there', async () => {
    const phone = world.phone('erin')
    await phone.gate.login()
    await world.kick(phone)
    const main = phone.gate
    await phone.launch().request({ url: '/me' })
    await main.request({ url: '/me' })
    assert.strictEqual(phone.calls.login, 2)
  })

  test('is not ended by a phone that is offline', async () => {
    const phone = world.phone('frank')
    await phone.gate.login()
    const token = phone.token()
    phone.offline = true
    for (const error of await Promise.all([
      phone.gate.request({ url: '/me' }), phone.gate.login(), phone.gate.logout(), phone.gate.logout({ all: true }),
      phone.gate.prepareData(), phone.gate.connectSocket({ url: '/chat' }), phone.gate.downloadFile({ url: '/file' }),
      phone.gate.phone({ code: 'a' }),
    ].map(refusal))) {
      assert(error instanceof phone.GateError)
      assert.deepStrictEqual([error.reason, error.code, error.status], ['offline', 'network', 0])
      assert.match(error.detail, /fail|INTERNET/)
    }
    assert.strictEqual(phone.token(), token)
    phone.offline = false
    await phone.gate.request({ url: '/me' })
    assert.strictEqual(phone.calls.login, 2)
  })

  test('is not ended by an answer that is late or not waited for', async () => {
    const phone = world.phone('frank')
    await phone.gate.login()
    const late = await refusal(phone.gate.request({ url: '/hang', timeout: 50 }))
    assert.deepStrictEqual([late.reason, late.code], ['offline', 'timeout'])
    const onTask = (task) => setTimeout(() => task.abort(), 50)
    const aborted = await refusal(phone.gate.request({ url: '/hang', onTask }))
    assert.deepStrictEqual([aborted.reason, aborted.code], ['offline', 'aborted'])
    assert.strictEqual(phone.calls.login, 1)
  })

  test('ends by logout, at the gate and in storage', async () => {
    const phone = world.phone('grace')
    await phone.gate.login()
    const authorization = 'Bearer ' + phone.token()
    await phone.gate.logout()
    assert.strictEqual(phone.token(), undefined)
    const answer = await fetch(world.base + '/wx/session', { headers: { authorization } })
    assert.strictEqual(answer.status, 401)
    await phone.gate.logout()
    await phone.gate.request({ url: '/me' })
    assert.strictEqual(phone.calls.login, 2)
  })

  test('that had ended already is logged out without a login', async () => {
    const phone = world.phone('grace')
    await phone.gate.login()
    await world.kick(phone)
    await phone.gate.logout()
    assert.deepStrictEqual([phone.calls.login, phone.token()], [1, undefined])
  })

  test('is not begun again by a call that the logout overtook', async () => {
    const phone = world.phone('heidi')
    await phone.gate.login()
    const radio = stick(phone, '/me')
    const late = refusal(phone.gate.request({ url: '/me' }))
    await phone.gate.logout()
    radio()
    assert.deepStrictEqual([(await late).code, (await late).reason], ['logged_out', 'refused'])
    assert.deepStrictEqual([phone.calls.login, phone.token()], [1, undefined])
  })

  test('is waited for by calls that begin while another one ends', async () => {
    const phone = world.phone('heidi')
    await phone.gate.login()
    const radio = stick(phone, '/wx/logout')
    const ended = phone.gate.logout()
    const calls = [phone.gate.request({ url: '/me' }), phone.gate.login()]
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert(!phone.asked.includes('GET /me'))
    radio()
    await Promise.all([ended, ...calls])
    assert.strictEqual(phone.calls.login, 2)
    assert(phone.token())
  })

  test('of another phone ends by logout of all', async () => {
    const [one, two] = [world.phone('ivan'), world.phone('ivan')]
    await one.gate.login()
    await two.gate.login()
    await one.gate.logout({ all: true })
    await two.gate.request({ url: '/me' })
    assert.strictEqual(two.calls.login, 2)
    // Somebody whose own session has ended must log in to do so.
    await world.kick(two)
    await two.gate.logout({ all: true })
    assert.deepStrictEqual([two.calls.login, two.token()], [3, undefined])
  })

  test('is replaced by a login, and calls on their way go on', async () => {
    const phone = world.phone('judy')
    await phone.gate.login()
    const old = phone.token()
    const [answer] = await Promise.all([phone.gate.login(), ...Array.from({ length: 20 }, () => phone.gate.request({ url: '/me' }))])
    assert.strictEqual(answer.token, phone.token())
    const left = await fetch(world.base + '/wx/session', { headers: { authorization: 'Bearer ' + old } })
    assert((await left.json()).expires_in <= 60)
    assert.notStrictEqual(answer.token, old)
    assert.strictEqual(phone.calls.login, 2)
  })

  test('says what the app server answers, whatever the status', async () => {
    const phone = world.phone('kate')
    for (const status of [400, 401, 403, 404, 422, 429, 500, 503]) {
      const res = await phone.gate.request({ url: '/status?is=' + status })
      assert.deepStrictEqual([res.statusCode, res.data], [status, { error: 'mine' }])
    }
    const empty = await phone.gate.request({ url: '/empty401' })
    assert.strictEqual(empty.statusCode, 401)
    assert.deepStrictEqual([phone.calls.login, phone.time.pauses.length], [1, 0])
  })

  test('is renewed when the refusal came as text, as bytes, in chunks or not at all', async () => {
    const phone = world.phone('kate')
    await phone.gate.login()
    for (const options of [{ dataType: 'text' }, { responseType: 'arraybuffer' }, { enableChunked: true }, { method: 'HEAD' }]) {
      await world.kick(phone)
      const res = await phone.gate.request(Object.assign({ url: '/me' }, options))
      assert.strictEqual(res.statusCode, 200, JSON.stringify(options))
    }
    assert.strictEqual(phone.calls.login, 5)
  })

  test('tells callbacks what it tells promises', async () => {
    const phone = world.phone('liam')
    const told = []
    const callbacks = { success: (res) => told.push(res.statusCode), fail: (error) => told.push(error.reason), complete: () => told.push('over') }
    await phone.gate.request(Object.assign({ url: '/me' }, callbacks))
    phone.offline = true
    await refusal(phone.gate.request(Object.assign({ url: '/me' }, callbacks)))
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.deepStrictEqual(told, [200, 'over', 'offline', 'over'])
  })

  test('goes to no other host', async () => {
    const phone = world.phone('mia')
    await phone.gate.login()
    const port = world.base.split(':')[2]
    for (const url of ['https://evil.example/', '@evil.example/', '.evil.example/', world.base + '.evil.example/', world.base + '@evil.example', `http://127.0.0.1:${port}0/me`, '', undefined]) {
      const asked = phone.asked.length
      const error = await refusal(phone.gate.request({ url }))
      assert.strictEqual(error.code, 'foreign_url', url)
      assert.strictEqual((await refusal(phone.gate.connectSocket({ url }))).code, 'foreign_url', url)
      assert.strictEqual(phone.asked.length, asked)
    }
    assert.strictEqual((await phone.gate.request({ url: world.base + '/me' })).statusCode, 200)
  })

  test('outlives no restart of the gate, which nobody notices', async () => {
    const phone = world.phone('nina')
    await phone.gate.login()
    await world.restart()
    assert.strictEqual((await phone.gate.request({ url: '/me' })).statusCode, 200)
    assert.strictEqual(phone.calls.login, 2)
  })
})

describe('a gate with paths of its own', () => {
  let world
  const paths = { login: '/auth/in', session: '', logout: '/auth/out', phone: '/auth/phone', decrypt: '/auth/data' }
  before(async () => {
    world = await start(Object.entries(paths).map(([name, path]) => `paths.${name} = "${path}"`).join('\n') + '\nsession.token_from = ["header:X-Session"]')
  })
  after(() => world.end())

  test('is used like any other', async () => {
    const phone = world.phone('alice', { paths, tokenIn: 'header:X-Session' })
    // Then the app server may have the header that is usual for it.
    await phone.gate.request({ url: '/me', header: { Authorization: 'Basic eDp5' } })
    assert.strictEqual(world.app.seen.at(-1).headers.authorization, 'Basic eDp5')
    await phone.gate.decrypt(await world.wechat('userdata', 'alice'))
    await phone.gate.phone(await world.wechat('phone_code', 'alice'))
    phone.time.ahead += 61000
    await phone.gate.uploadFile({ url: '/upload', filePath: __filename, name: 'file' })
    const error = await refusal(phone.gate.connectSocket({ url: '/nosocket' }))
    assert.strictEqual(error.code, 'socket_failed')
    await phone.gate.logout()
    assert.strictEqual(phone.token(), undefined)
  })

  test('is told from a server that is no gate', async () => {
    const baseUrl = `http://127.0.0.1:${world.app.server.address().port}`
    const phone = world.phone('alice')
    const error = await refusal(phone.launch({ baseUrl }).request({ url: '/me' }))
    assert.deepStrictEqual([error.code, error.status, error.reason], ['unexpected_answer', 200, 'refused'])
    assert.strictEqual(phone.storage.size, 0)
  })
})
