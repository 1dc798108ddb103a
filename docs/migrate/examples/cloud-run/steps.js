// What callContainer, the open API service and the message push of Cloud Run did, by the gate.

const net = require('node:net')

// The egress listener needs a port that the app server knows before the gate runs.
const free = () => new Promise(resolve => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address()
    server.close(() => resolve(port))
  })
})

const PUSH = { WX_PUSH_TOKEN: 'letters0and0digits', WX_PUSH_AES_KEY: 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG' }

module.exports = async ({ wechat, app, gate, call, folder }) => {
  const [url, port] = [await wechat(folder), await free()]
  const upstream = await app(folder, 'app.js', { WX_API: `http://127.0.0.1:${port}` })
  const base = await gate(folder, url, upstream, { ...PUSH, WXGATE_EGRESS__LISTEN: `127.0.0.1:${port}` })

  const { token } = await call(base, 'POST', '/wx/login', { body: { code: 'mock-alice' } })
  await call(base, 'GET', '/api/count', { token })
  await call(base, 'GET', '/api/count', { headers: { 'X-WX-OPENID': 'somebody', 'X-WX-SOURCE': 'wx_client' } })
  await call(base, 'POST', '/api/check', { token, body: { content: 'good morning' } })

  const message = { ToUserName: 'gh_0', FromUserName: 'oS14NfSydoAfXYlukZv_xPPF39pO', CreateTime: Math.floor(Date.now() / 1000),
    MsgType: 'text', Content: 'hello', MsgId: 1 }
  const push = { appid: 'wx0123456789abcdef', token: PUSH.WX_PUSH_TOKEN, encoding_aes_key: PUSH.WX_PUSH_AES_KEY,
    mode: 'safe', format: 'json', message, url: `${base}/wx/push/wx0123456789abcdef` }
  const headers = { 'Content-Type': 'application/json' }
  await fetch(`${url}/_mock/push`, { method: 'POST', headers, body: JSON.stringify(push) })
  await call(base, 'GET', '/api/received', { token })
  await call(base, 'POST', '/push', { token, body: { Content: 'forged' } })
}
