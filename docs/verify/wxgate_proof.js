// Whether a request came through the gate, by the header of [identity.hmac]. Node's own crypto only.
// Headers have their default names here: write those of your [identity] where they are others.
const crypto = require('node:crypto')

// Only when this is true are the identity headers the gate's.
// keys: the key, and during a change-over the previous one; one below 32 bytes is none, as when a
// variable is not set. target: path and query as they arrived, which is `req.url` (`req.originalUrl` in
// Express). headers: `req.headers`.
function isFromGate(keys, method, target, headers, now = Date.now() / 1000, window = 60) {
  const proof = /^v1;t=([0-9]{1,12});s=([0-9a-f]{64})$/.exec(headers['x-wx-proof'] || '')
  if (!proof || Math.abs(now - Number(proof[1])) > window) return false
  const of = (name) => headers[name] || ''
  const lines = ['v1', proof[1], of('x-request-id'), method, target]
  lines.push(of('x-wx-appid'), of('x-wx-openid'), of('x-wx-unionid'))
  const text = lines.join('\n')
  if (/[^\x00-\xff]/.test(text)) return false // no text of bytes, so something has decoded it
  const message = Buffer.from(text, 'latin1')
  const sign = (key) => crypto.createHmac('sha256', key).update(message).digest()
  const usable = keys.filter((key) => key && Buffer.byteLength(key) >= 32)
  return usable.some((key) => crypto.timingSafeEqual(sign(key), Buffer.from(proof[2], 'hex')))
}

module.exports = { isFromGate }
