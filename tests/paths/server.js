// Says what Node's own ways of reading a target make of it. Usage: node server.js PORT
'use strict'

const http = require('node:http')
const path = require('node:path')
const url = require('node:url')

const attempt = (read) => {
  try {
    return read()
  } catch {
    return undefined
  }
}

const server = http.createServer((request, response) => {
  const plain = request.url.split('?')[0]
  const whatwg = attempt(() => new URL(request.url, 'http://localhost').pathname)
  const absolute = attempt(() => new URL('http://localhost' + request.url).pathname)
  const legacy = attempt(() => url.parse(request.url).pathname)
  const views = [plain, whatwg, absolute, legacy]
  for (const view of [...views]) {
    const decoded = attempt(() => decodeURIComponent(view))
    views.push(decoded, decoded && path.posix.normalize(decoded))
    // What serve-static does not, and many a file server of one's own does.
    views.push(decoded && path.posix.normalize(decoded.replaceAll('\\', '/')))
  }
  const known = views.filter((view) => typeof view === 'string')
  response.end(known.map((view) => `path ${Buffer.from(view).toString('hex')}\n`).join(''))
})
server.listen(Number(process.argv[2]), '127.0.0.1')
