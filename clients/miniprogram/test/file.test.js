// The file itself: what it needs, what it exports, and that it runs untouched by any compiler.
'use strict'

const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')
const { describe, test } = require('node:test')

const { CLIENT } = require('./world.js')

/** Bytes that the README promises at most. */
const MAX_BYTES = 18 * 1024

/** Of the language, what compilers of mini programs are needed for. */
const TOO_NEW = [
  'AsyncKeyword', 'AwaitExpression', 'AwaitKeyword', 'YieldExpression', 'QuestionDotToken', 'QuestionQuestionToken',
  'SpreadAssignment', 'PropertyDeclaration', 'ClassDeclaration', 'BigIntLiteral', 'PrivateIdentifier', 'ImportKeyword', 'ExportKeyword',
]

/** Of the library, what came after ES2017 and is easily used by mistake. */
const NEW_METHODS = ['finally', 'flat', 'flatMap', 'at', 'replaceAll', 'matchAll', 'fromEntries', 'allSettled', 'findLast', 'trimStart', 'trimEnd']

/** The client in a context that has only what is given. */
function load(globals) {
  const module = { exports: {} }
  vm.runInContext(CLIENT, vm.createContext(Object.assign({ module }, globals)), { filename: 'wxgate.js' })
  return module.exports
}

const account = (envVersion) => ({
  getAccountInfoSync: () => ({ miniProgram: { envVersion } }),
  getStorageSync: () => '',
})

const BASES = { develop: 'http://127.0.0.1:4180', trial: 'https://trial.example.com/', release: 'https://app.example.com' }

describe('the file', () => {
  test('needs nothing but wx and CommonJS', () => {
    const { createClient, GateError } = load({ wx: account('release') })
    assert.deepStrictEqual(Object.keys(createClient({ baseUrl: 'https://app.example.com' })), [
      'baseUrl', 'login', 'request', 'uploadFile', 'downloadFile', 'connectSocket', 'prepareData', 'decrypt', 'phone', 'logout',
    ])
    assert.strictEqual(new GateError({ code: 'x' }).name, 'GateError')
  })

  test('takes uni where there is no wx', () => {
    const { createClient } = load({ uni: account('release') })
    assert.strictEqual(createClient({ baseUrl: 'https://app.example.com' }).baseUrl, 'https://app.example.com')
  })

  test('is as small as promised', () => {
    assert(Buffer.byteLength(CLIENT) < MAX_BYTES, `${Buffer.byteLength(CLIENT)} bytes`)
  })

  test('is written in a language that mini programs run as it is', (context) => {
    let ts
    try {
      ts = require('typescript')
    } catch (_missing) {
      return context.skip('npm ci was not run')
    }
    const source = ts.createSourceFile('index.js', CLIENT, ts.ScriptTarget.Latest, true)
    const found = []
    const tooNew = (node) => TOO_NEW.includes(ts.SyntaxKind[node.kind]) ||
      (ts.isCatchClause(node) && !node.variableDeclaration) ||
      (ts.isPropertyAccessExpression(node) && NEW_METHODS.includes(node.name.text))
    const look = (node) => {
      if (tooNew(node)) {
        const { line } = source.getLineAndCharacterOfPosition(node.getStart())
        found.push(`${node.getText()} in line ${line + 1}`)
      }
      ts.forEachChild(node, look)
    }
    look(source)
    assert.deepStrictEqual(found, [])
    return undefined
  })

  test('says what its types say', () => {
    const types = fs.readFileSync(path.join(__dirname, '../lib/index.d.ts'), 'utf8')
    const { createClient } = load({ wx: account('release') })
    for (const name of Object.keys(createClient({ baseUrl: 'https://app.example.com' }))) {
      assert.match(types, new RegExp(`\\b${name}[(:<]`))
    }
  })
})

describe('the address of the gate', () => {
  const baseOf = (baseUrl, platform) => load({}).createClient({ baseUrl, wx: platform }).baseUrl

  test('is that of the version that runs', () => {
    assert.strictEqual(baseOf(BASES, account('develop')), 'http://127.0.0.1:4180')
    assert.strictEqual(baseOf(BASES, account('trial')), 'https://trial.example.com')
    assert.strictEqual(baseOf(BASES, account('release')), 'https://app.example.com')
  })

  test('is that of the release where nothing else is known', () => {
    const silent = { getStorageSync: () => '' }
    const broken = { getAccountInfoSync() { throw new Error('no') }, getStorageSync() { throw new Error('no') } }
    for (const platform of [account(undefined), account('gray'), silent, broken]) {
      assert.strictEqual(baseOf(BASES, platform), 'https://app.example.com')
    }
    assert.strictEqual(baseOf({ release: BASES.release }, account('develop')), 'https://app.example.com')
  })

  test('is an address', () => {
    for (const baseUrl of [undefined, '', 'app.example.com', 'https://', 'wss://app.example.com', {}, { develop: 'https://a' }]) {
      assert.throws(() => baseOf(baseUrl, account('release')), /baseUrl/)
    }
  })

  test('has a storage of its own', () => {
    const keys = []
    const platform = Object.assign(account('develop'), { getStorageSync: (key) => keys.push(key) && '' })
    baseOf(BASES, platform)
    baseOf('https://other.example.com', platform)
    assert.deepStrictEqual(keys, ['wxgate:http://127.0.0.1:4180', 'wxgate:https://other.example.com'])
  })
})
