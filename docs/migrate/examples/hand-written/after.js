// The same app server behind the gate: who asks stands in a header. No secret, no session_key, no token.

const http = require('node:http')

const visits = new Map()

const server = http.createServer((req, res) => {
  const say = (status, data) => res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(data))
  const openid = req.headers['x-wx-openid']
  if (!openid) return say(401, { error: 'login first' })
  visits.set(openid, (visits.get(openid) || 0) + 1)
  say(200, { openid, visits: visits.get(openid) })
})

server.listen(process.env.PORT || 3000, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
