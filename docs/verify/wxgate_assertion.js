// Who a request is from, by the header of [identity.jwt]. Node's own crypto only.
const crypto = require('node:crypto')

// The claims, or null for anything but the gate's word. Who it is stands in `sub` (the openid) and `appid`.
// Never read an X-WX-* header: an assertion says nothing of them.
// jwks: what `paths.jwks` answers; keep it for five minutes, and fetch it before that when a `kid` is not in
// it, but at most once in 30 s: anybody can make one up.
function userOf(jwks, token, { issuer = 'wxgate', audience, now = Date.now() / 1000, leeway = 5 } = {}) {
  const [head, body, signature, rest] = String(token).split('.')
  if (!signature || rest !== undefined) return null
  const read = (part) => JSON.parse(Buffer.from(part, 'base64url'))
  try {
    const header = read(head)
    const jwk = jwks.keys.find((key) => key.kid === header.kid)
    if (!jwk || jwk.alg !== header.alg) return null // as the key says, never as the token says
    const key = { key: crypto.createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }
    const hash = jwk.alg === 'ES256' ? 'sha256' : null
    if (!crypto.verify(hash, `${head}.${body}`, key, Buffer.from(signature, 'base64url'))) return null
    const claims = read(body)
    const good = claims.iss === issuer && (audience === undefined || claims.aud === audience)
    return good && claims.iat - leeway <= now && now < claims.exp + leeway ? claims : null
  } catch (e) {
    return null
  }
}

module.exports = { userOf }
