// Uploads and downloads: their answers are not as those of wx.request, and an upload is dear.
'use strict'

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const { after, before, describe, test } = require('node:test')

const { refusal, start } = require('./world.js')

const MEGABYTE = 1024 * 1024

describe('an upload', () => {
  let world
  before(async () => { world = await start('server.limits.max_body_bytes = "2MiB"') })
  after(() => world.end())

  const picture = (phone, size = 1000) => {
    const filePath = path.join(phone.folder, 'picture.png')
    fs.writeFileSync(filePath, Buffer.alloc(size, 'p'))
    return { url: '/upload', filePath, name: 'avatar' }
  }

  test('gives the answer of the app server as a value', async () => {
    const phone = world.phone('alice')
    const res = await phone.gate.uploadFile(Object.assign(picture(phone), { formData: { album: '7' } }))
    assert.strictEqual(res.statusCode, 200)
    assert.match(res.data.openid, /^o/)
    assert(res.data.bytes > 1000)
    assert.match(world.app.seen.at(-1).body, /name="album"/)
  })

  test('leaves an answer that is no JSON as it is', async () => {
    const phone = world.phone('alice')
    const res = await phone.gate.uploadFile(Object.assign(picture(phone), { url: '/file' }))
    assert.strictEqual(res.data, 'a picture')
  })

  test('of which the session has just ended is sent again after a login', async () => {
    const phone = world.phone('bob')
    await phone.gate.login()
    await world.kick(phone)
    const uploads = world.app.uploads.length
    const res = await phone.gate.uploadFile(picture(phone, MEGABYTE))
    assert.strictEqual(res.statusCode, 200)
    assert.deepStrictEqual([phone.calls.login, phone.calls.uploadFile, world.app.uploads.length - uploads], [2, 2, 1])
  })

  test('after a quiet spell is sent once: the session is looked at before', async () => {
    const phone = world.phone('carol')
    await phone.gate.login()
    await world.kick(phone)
    phone.time.ahead += 61000
    const res = await phone.gate.uploadFile(picture(phone, MEGABYTE))
    assert.strictEqual(res.statusCode, 200)
    assert.deepStrictEqual([phone.calls.login, phone.calls.uploadFile], [2, 1])
  })

  test('right after a start is sent once: nobody knows how long the pause was', async () => {
    const phone = world.phone('dave')
    await phone.gate.login()
    await world.kick(phone)
    await phone.launch().uploadFile(picture(phone))
    assert.deepStrictEqual([phone.calls.login, phone.calls.uploadFile], [2, 1])
  })

  test('among other calls asks nothing before', async () => {
    const phone = world.phone('erin')
    await phone.gate.login()
    phone.time.ahead += 59000
    await phone.gate.uploadFile(picture(phone))
    phone.time.ahead += 59000
    await phone.gate.uploadFile(picture(phone))
    assert(!phone.asked.includes('GET /wx/session'), phone.asked)
  })

  test('that is refused says why', async () => {
    const phone = world.phone('frank')
    const error = await refusal(phone.gate.uploadFile(picture(phone, 3 * MEGABYTE)))
    assert.deepStrictEqual([error.code, error.status, error.reason], ['body_too_large', 413, 'refused'])
  })

  test('is not begun by a phone that is offline after a quiet spell', async () => {
    const phone = world.phone('grace')
    await phone.gate.login()
    phone.time.ahead += 61000
    phone.offline = true
    assert.strictEqual((await refusal(phone.gate.uploadFile(picture(phone)))).reason, 'offline')
    assert.strictEqual(phone.calls.uploadFile, undefined)
  })

  test('hands out its task, for progress and abort', async () => {
    const phone = world.phone('heidi')
    const tasks = []
    await phone.gate.uploadFile(Object.assign(picture(phone), { onTask: (task) => tasks.push(task) }))
    assert.strictEqual(typeof tasks[0].onProgressUpdate, 'function')
    assert.strictEqual(tasks.length, 1)
  })
})

describe('a download', () => {
  let world
  before(async () => { world = await start() })
  after(() => world.end())

  test('gives a file', async () => {
    const phone = world.phone('alice')
    const res = await phone.gate.downloadFile({ url: '/file' })
    assert.strictEqual(fs.readFileSync(res.tempFilePath, 'utf8'), 'a picture')
  })

  test('of which the session has ended gives the file all the same', async () => {
    const phone = world.phone('bob')
    await phone.gate.login()
    for (const filePath of [undefined, path.join(phone.folder, 'mine.png')]) {
      await world.kick(phone)
      const res = await phone.gate.downloadFile({ url: '/file', filePath })
      assert.strictEqual(fs.readFileSync(res.filePath || res.tempFilePath, 'utf8'), 'a picture')
    }
    assert.strictEqual(phone.calls.login, 3)
  })

  test('does so where no file can be read', async () => {
    const phone = world.phone('carol', { adapt: (wx) => Object.assign({}, wx, { getFileSystemManager: undefined }) })
    await phone.gate.login()
    await world.kick(phone)
    const res = await phone.gate.downloadFile({ url: '/file' })
    assert.deepStrictEqual([res.statusCode, phone.calls.login], [200, 2])
  })

  test('that the gate refuses leaves no file and says why', async () => {
    const phone = world.phone('dave')
    const filePath = path.join(phone.folder, 'mine.png')
    const error = await refusal(phone.gate.downloadFile({ url: '/wx%2fsession', filePath }))
    assert.deepStrictEqual([error.code, error.reason], ['ambiguous_path', 'refused'])
    assert(!fs.existsSync(filePath))
  })

  test('that the app server refuses is the answer of the app server', async () => {
    const phone = world.phone('erin')
    const res = await phone.gate.downloadFile({ url: '/status?is=404' })
    assert.strictEqual(res.statusCode, 404)
    assert.strictEqual(fs.readFileSync(res.tempFilePath, 'utf8'), '{"error":"mine"}')
    const unauthorized = await phone.gate.downloadFile({ url: '/status?is=401' })
    assert.deepStrictEqual([unauthorized.statusCode, phone.calls.login], [401, 1])
  })
})

describe('a transfer while the app server is gone', () => {
  let world
  before(async () => {
    world = await start()
    world.app.server.close()
    world.app.server.closeAllConnections()
  })
  after(() => world.end())

  test('waits as long as the header says that wx shows apart from the answer', async () => {
    const phone = world.phone('alice')
    for (const call of [
      () => phone.gate.downloadFile({ url: '/file' }),
      () => phone.gate.uploadFile({ url: '/upload', filePath: __filename, name: 'file' }),
    ]) {
      phone.time.pauses.length = 0
      const error = await refusal(call())
      assert.deepStrictEqual([error.code, error.retryAfter], ['upstream_unreachable', 2])
      assert.strictEqual(phone.time.pauses.length, 1)
    }
  })
})
