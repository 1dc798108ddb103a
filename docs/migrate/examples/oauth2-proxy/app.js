// An app server that was written for oauth2-proxy: it reads X-Forwarded-User. Nothing in it is changed.

const http = require('node:http')

const server = http.createServer((req, res) => {
  const user = req.headers['x-forwarded-user'] || null
  res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ path: req.url, user }))
})

server.listen(process.env.PORT || 3000, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
