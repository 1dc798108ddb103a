#!/usr/bin/env node
// Runs one example from beginning to end, without an account: a simulated WeChat, the app server, and the gate before
// it, each on a free port. Prints what was asked and what came back.
//
//   WXGATE=target/debug/wxgate node docs/migrate/examples/run.js hand-written

const { spawn } = require('node:child_process')
const path = require('node:path')

const WXGATE = path.resolve(process.env.WXGATE || 'target/debug/wxgate')
const START_SECONDS_MAX = 60
const children = []

// Starts a program, and resolves to the addresses that `find` sees in its output.
function start(command, args, env, folder, find) {
  const child = spawn(command, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  return new Promise((resolve, reject) => {
    let said = ''
    const fail = why => reject(new Error(`${command} ${args.join(' ')}: ${why}\n${said}`))
    const late = setTimeout(() => fail('does not start'), START_SECONDS_MAX * 1000)
    const listen = piece => {
      said += piece
      const found = find(said)
      if (found) clearTimeout(late), resolve(found)
    }
    child.stdout.on('data', listen)
    child.stderr.on('data', listen)
    child.on('error', fail)
    child.on('exit', code => fail(`ends with ${code}`))
  })
}

const url = said => (/http:\/\/[\d.:]+\n/.exec(said) || [''])[0].trim()

const wechat = folder => start(WXGATE, ['mock-wechat', '--listen', '127.0.0.1:0'], {}, folder, url)

const app = (folder, file, env) => start(process.execPath, [file], { PORT: '0', ...env }, folder, url)

// The gate with the example's `wxgate.toml`; only addresses are other ones.
async function gate(folder, wechatUrl, appUrl, env = {}) {
  const addresses = {
    WX_APP_SECRET: '0123456789abcdef0123456789abcdef',
    WXGATE_SERVER__LISTEN: '127.0.0.1:0',
    WXGATE_ADMIN__LISTEN: '',
    WXGATE_UPSTREAM__URL: appUrl,
    WXGATE_WECHAT__BASE_URL: wechatUrl,
    WXGATE_LOG__FORMAT: 'json',
    ...env,
  }
  const lines = said => said.split('\n').slice(0, -1).filter(line => line.startsWith('{')).map(line => JSON.parse(line))
  return start(WXGATE, ['run', '-c', 'wxgate.toml'], addresses, folder, said => {
    const listening = lines(said).find(line => line.msg === 'listening')
    return listening && `http://${listening.address}`
  })
}

// Tokens differ each time.
const short = text => text.replace(/wxg_[\w-]{43}/g, 'wxg_…').replace(/\b[0-9a-f]{32}\b/g, '…')

// Makes a call, and prints it in two lines.
async function call(base, method, target, { token, headers = {}, body, who = 'gate' } = {}) {
  const all = { ...headers }
  if (token) all.Authorization = `Bearer ${token}`
  if (body) all['Content-Type'] = 'application/json'
  const answer = await fetch(base + target, { method, headers: all, body: body && JSON.stringify(body) })
  const text = await answer.text()
  const shown = short(text)
  const refused = /"code":"(\w+)"/.exec(text)
  console.log(`${who}  ${method} ${target}${body ? ' ' + JSON.stringify(body) : ''}`)
  for (const [name, value] of Object.entries(headers)) console.log(`      ${name}: ${short(value)}`)
  console.log(`      → ${answer.status} ${text.includes('urn:wxgate') ? refused[1] : shown}`.trimEnd())
  return text.startsWith('{') ? JSON.parse(text) : text
}

const folder = path.join(__dirname, process.argv[2] || 'hand-written')
const end = () => children.forEach(child => child.kill('SIGKILL'))
process.on('exit', end)
require(path.join(folder, 'steps.js'))({ wechat, app, gate, call, folder }).then(
  () => process.exit(0),
  error => { console.error(error); process.exit(1) },
)
