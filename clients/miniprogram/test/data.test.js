// Data of the user: it can be read with the session_key that it was made with, and with no other.
'use strict'

const assert = require('node:assert')
const { after, before, describe, test } = require('node:test')

const { refusal, start } = require('./world.js')

for (const envelope of ['problem', 'code-msg-data']) {
  describe(`data of the user, with answers in the envelope ${envelope}`, () => {
    let world
    before(async () => { world = await start(`errors.envelope = "${envelope}"`) })
    after(() => world.end())
    const phoneOf = (user) => world.phone(user, { envelope })

    test('is decrypted', async () => {
      const phone = phoneOf('alice')
      const answer = await phone.gate.login()
      assert.match(answer.token, /^wxg_/)
      const detail = await world.wechat('userdata', 'alice')
      const data = await phone.gate.decrypt(Object.assign({ errMsg: 'getUserInfo:ok', cloudID: 'x' }, detail))
      assert.strictEqual(data.watermark.appid, 'wx0123456789abcdef')
      assert.strictEqual(phone.calls.login, 1)
    })

    test('that an old key was for must be obtained again, and can be read then', async () => {
      const phone = phoneOf('bob')
      await phone.gate.login()
      await world.wechat('rotate', 'bob')
      const stale = await world.wechat('userdata', 'bob')
      const error = await refusal(phone.gate.decrypt(stale))
      assert.deepStrictEqual([error.code, error.status, error.reason], ['decrypt_failed', 422, 'reacquire'])
      // One try, and one login, after which another press of the button is enough.
      assert.strictEqual(phone.asked.filter((it) => it === 'POST /wx/decrypt').length, 1)
      assert.strictEqual(phone.calls.login, 2)
      await phone.gate.decrypt(await world.wechat('userdata', 'bob'))
      assert.strictEqual(phone.calls.login, 2)
    })

    test('of a session that has ended is read after a login that changed no key', async () => {
      const phone = phoneOf('carol')
      await phone.gate.login()
      const detail = await world.wechat('userdata', 'carol')
      await world.kick(phone)
      assert((await phone.gate.decrypt(detail)).openId)
      assert.strictEqual(phone.calls.login, 2)
    })

    test('of a session that has ended must be obtained again when the key changed, with one login', async () => {
      const phone = phoneOf('dave')
      await phone.gate.login()
      const detail = await world.wechat('userdata', 'dave')
      await world.kick(phone)
      await world.wechat('rotate', 'dave')
      const error = await refusal(phone.gate.decrypt(detail))
      assert.deepStrictEqual([error.code, error.reason], ['decrypt_failed', 'reacquire'])
      assert.strictEqual(phone.calls.login, 2)
    })

    test('that the user did not give costs no request', async () => {
      const phone = phoneOf('erin')
      const asked = phone.asked.length
      const error = await refusal(phone.gate.phone({ errMsg: 'getPhoneNumber:fail user deny' }))
      assert.deepStrictEqual([error.code, error.reason, error.detail], ['no_data', 'refused', 'getPhoneNumber:fail user deny'])
      assert.strictEqual((await refusal(phone.gate.decrypt(undefined))).code, 'no_data')
      assert.strictEqual(phone.asked.length, asked)
    })

    test('is a phone number for the code of a button, once', async () => {
      const phone = phoneOf('frank')
      await phone.gate.login()
      const { code } = await world.wechat('phone_code', 'frank')
      const number = await phone.gate.phone({ errMsg: 'getPhoneNumber:ok', code })
      assert.match(number.phoneNumber, /^\d+$/)
      const error = await refusal(phone.gate.phone({ code }))
      assert.deepStrictEqual([error.code, error.reason], ['phone_code_invalid', 'reacquire'])
      // A code needs no session_key.
      assert.strictEqual(phone.calls.login, 1)
    })

    test('is a phone number although the session has ended before the button was pressed', async () => {
      const phone = phoneOf('grace')
      await phone.gate.login()
      const { code } = await world.wechat('phone_code', 'grace')
      await world.kick(phone)
      assert((await phone.gate.phone({ code })).purePhoneNumber)
      assert.strictEqual(phone.calls.login, 2)
    })
  })
}

describe('prepareData', () => {
  let world
  before(async () => { world = await start() })
  after(() => world.end())

  test('logs in where there is no session', async () => {
    const phone = world.phone('alice')
    await phone.gate.prepareData()
    assert(phone.token())
    assert.strictEqual(phone.calls.login, 1)
  })

  test('logs in when WeChat says that the key is over', async () => {
    const phone = world.phone('bob')
    await phone.gate.login()
    phone.keyIsGood = false
    await world.wechat('rotate', 'bob')
    await phone.gate.prepareData()
    assert.strictEqual(phone.calls.login, 2)
    await phone.gate.decrypt(await world.wechat('userdata', 'bob'))
    assert.strictEqual(phone.calls.login, 2)
  })

  test('logs in when the gate has no session, whatever WeChat says', async () => {
    const phone = world.phone('carol')
    await phone.gate.login()
    await world.kick(phone)
    await phone.gate.prepareData()
    assert.strictEqual(phone.calls.login, 2)
  })

  test('leaves a session and its key alone while both are good', async () => {
    const phone = world.phone('dave')
    await phone.gate.login()
    const token = phone.token()
    await phone.gate.prepareData()
    await phone.gate.prepareData()
    assert.deepStrictEqual([phone.calls.login, phone.token()], [1, token])
  })
})

describe('a gate that delivers', () => {
  let world
  before(async () => {
    world = await start(`
decrypt.in_flight = ["/profile"]
phone = { deliver = "upstream", deliver_to = "/internal/phone" }
login.hook = "/hooks/login"
login.expose = ["openid"]`)
  })
  after(() => world.end())

  test('tells the hook what a login says, and the client what the hook answers', async () => {
    const phone = world.phone('alice', { loginData: () => ({ channel: 'poster' }) })
    const answer = await phone.gate.login({ data: { invitedBy: 'bob' } })
    assert.strictEqual(answer.data.openid, answer.openid)
    const hook = JSON.parse(world.app.seen.findLast((it) => it.url === '/hooks/login').body)
    assert.deepStrictEqual(hook.client, { channel: 'poster', invitedBy: 'bob' })
  })

  test('answers a phone number as the app server does', async () => {
    const phone = world.phone('alice')
    await phone.gate.login()
    const answer = await phone.gate.phone(await world.wechat('phone_code', 'alice'))
    assert.match(answer.openid, /^o/)
    assert(JSON.parse(world.app.seen.at(-1).body).phoneNumber)
  })

  test('has the client log in when it cannot read data on its way to the app server', async () => {
    const phone = world.phone('bob')
    await phone.gate.login()
    await world.wechat('rotate', 'bob')
    const { encryptedData, iv } = await world.wechat('userdata', 'bob')
    const seen = world.app.seen.length
    const error = await refusal(phone.gate.request({ url: '/profile', method: 'POST', data: { encryptedData, iv } }))
    assert.strictEqual(error.reason, 'reacquire')
    assert.deepStrictEqual([phone.calls.login, world.app.seen.length - seen], [2, 1]) // the hook
    const again = await world.wechat('userdata', 'bob')
    await phone.gate.request({ url: '/profile', method: 'POST', data: { encryptedData: again.encryptedData, iv: again.iv } })
    assert(JSON.parse(world.app.seen.at(-1).body).openData)
  })
})
