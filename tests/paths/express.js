// Says which route of Express a target meets.
// Usage: node express.js PORT
'use strict'

const express = require('express')

const RESOURCES = [
  ['/admin{/*rest}', '/admin/x'],
  ['/exact', '/exact'],
  ['/team/:name/keys', '/team/a/keys'],
  ['/open/secret{/*rest}', '/open/secret/x'],
  ['/open{/*rest}', '/open/x'],
  ['/api{/*rest}', '/api/x'],
  ['/hooks/login', '/hooks/login'],
  ['/profile', '/profile'],
  ['/wx/login', '/wx/login'],
  ['/', '/'],
]

const usual = express()
const say = (response, ...views) =>
  response.send(views.map((view) => `path ${Buffer.from(view).toString('hex')}\n`).join(''))

for (const [route, resource] of RESOURCES) {
  usual.all(route, (request, response) => say(response, resource, request.path))
}
usual.use((request, response) => say(response, request.path))
usual.use((error, request, response, next) => response.status(400).send(''))
usual.listen(Number(process.argv[2]), '127.0.0.1')
