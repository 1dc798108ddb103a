// The app server as the tutorials write it: it redeems the code, keeps session_keys, and makes tokens itself.

const http = require('node:http')
const crypto = require('node:crypto')

const WECHAT = process.env.WECHAT || 'https://api.weixin.qq.com'
const APPID = 'wx0123456789abcdef'
const SECRET = process.env.WX_APP_SECRET || ''
const sessions = new Map()
const visits = new Map()

async function login(code) {
  const query = new URLSearchParams({ appid: APPID, secret: SECRET, js_code: code, grant_type: 'authorization_code' })
  const answer = await (await fetch(`${WECHAT}/sns/jscode2session?${query}`)).json()
  if (answer.errcode) throw new Error(answer.errmsg)
  const token = crypto.randomBytes(16).toString('hex')
  sessions.set(token, { openid: answer.openid, sessionKey: answer.session_key })
  return token
}

async function body(req) {
  let text = ''
  for await (const piece of req) text += piece
  return JSON.parse(text || '{}')
}

const server = http.createServer(async (req, res) => {
  const say = (status, data) => res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(data))
  try {
    if (req.method === 'POST' && req.url === '/login') return say(200, { token: await login((await body(req)).code) })
    const session = sessions.get(req.headers['x-token'])
    if (!session) return say(401, { error: 'login first' })
    const openid = session.openid
    visits.set(openid, (visits.get(openid) || 0) + 1)
    say(200, { openid, visits: visits.get(openid) })
  } catch (error) {
    say(500, { error: error.message })
  }
})

server.listen(process.env.PORT || 3000, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
