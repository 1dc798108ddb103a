// As much of RFC 6455 as the tests need, for both sides: handshakes, and small unfragmented frames.
'use strict'

const crypto = require('node:crypto')

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

const acceptFor = (key) => crypto.createHash('sha1').update(key + GUID).digest('base64')

function frame(opcode, payload, masked) {
  const data = Buffer.from(payload)
  const head = data.length < 126
    ? Buffer.from([0x80 | opcode, data.length])
    : Buffer.from([0x80 | opcode, 126, data.length >> 8, data.length & 255])
  if (!masked) return Buffer.concat([head, data])
  head[1] |= 0x80
  const mask = crypto.randomBytes(4)
  return Buffer.concat([head, mask, data.map((byte, at) => byte ^ mask[at % 4])])
}

/** Calls back with each frame (opcode, payload) that arrives on a socket after its handshake. */
function readFrames(socket, head, onFrame) {
  let rest = Buffer.alloc(0)
  const take = (bytes) => {
    rest = Buffer.concat([rest, bytes])
    for (;;) {
      if (rest.length < 2) return
      const masked = (rest[1] & 0x80) !== 0
      let length = rest[1] & 0x7f
      let at = 2
      if (length === 126) {
        if (rest.length < 4) return
        length = rest.readUInt16BE(2)
        at = 4
      }
      const body = at + (masked ? 4 : 0)
      if (rest.length < body + length) return
      const mask = rest.subarray(at, body)
      const payload = rest.subarray(body, body + length).map((byte, i) => (masked ? byte ^ mask[i % 4] : byte))
      const opcode = rest[0] & 0x0f
      rest = rest.subarray(body + length)
      onFrame(opcode, Buffer.from(payload))
    }
  }
  socket.on('data', take)
  if (head.length > 0) take(head)
}

module.exports = { acceptFor, frame, readFrames, TEXT: 1, CLOSE: 8 }
