// Puts cases before the verifiers under docs/verify: a JSON list on stdin, a list of verdicts out.
const { isFromGate } = require('../../docs/verify/wxgate_proof.js')
const { userOf } = require('../../docs/verify/wxgate_assertion.js')

const judge = (it) => it.token === undefined
  ? isFromGate(it.keys, it.method, it.target, it.headers, it.now)
  : userOf(it.jwks, it.token, { issuer: it.issuer, audience: it.audience ?? undefined, now: it.now })

const cases = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))
process.stdout.write(JSON.stringify(cases.map(judge)))
