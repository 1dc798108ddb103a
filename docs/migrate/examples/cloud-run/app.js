// An app server that was written for WeChat Cloud Run. Nothing in it is changed.

const http = require('node:http')

// In Cloud Run http://api.weixin.qq.com; here the gate's egress listener.
const API = process.env.WX_API || 'http://api.weixin.qq.com'
const counts = new Map()
const received = []

async function body(req) {
  let text = ''
  for await (const piece of req) text += piece
  return text
}

// By node:http, as most SDKs do.
const post = (url, text) => new Promise((resolve, reject) => {
  const asked = http.request(url, { method: 'POST' }, async answer => resolve(JSON.parse(await body(answer))))
  asked.on('error', reject).end(text)
})

async function answer(req) {
  const openid = req.headers['x-wx-openid']
  if (!req.headers['x-wx-source'] || !openid) return [401, { error: 'not from WeChat' }]
  if (req.url === '/api/count') {
    counts.set(openid, (counts.get(openid) || 0) + 1)
    return [200, { count: counts.get(openid), env: req.headers['x-wx-env'] }]
  }
  if (req.url === '/api/check') {
    const { content } = JSON.parse(await body(req))
    const text = JSON.stringify({ openid, version: 2, scene: 2, content })
    const checked = await post(`${API}/wxa/msg_sec_check`, text)   // no access_token
    return [200, { suggest: checked.result.suggest }]
  }
  if (req.url === '/push') {
    received.push({ from: openid, ...JSON.parse(await body(req)) })
    return [200, 'success']
  }
  return req.url === '/api/received' ? [200, received.map(({ from, Content }) => ({ from, Content }))] : [404, {}]
}

const server = http.createServer(async (req, res) => {
  const [status, data] = await answer(req).catch(error => [500, { error: error.message }])
  const text = typeof data === 'string' ? data : JSON.stringify(data)
  res.writeHead(status, { 'Content-Type': typeof data === 'string' ? 'text/plain' : 'application/json' }).end(text)
})

server.listen(process.env.PORT || 80, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
