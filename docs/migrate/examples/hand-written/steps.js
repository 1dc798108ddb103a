// One mini program, which is not changed, at the old app server, at the same behind the gate, and at the new one.

const body = { code: 'mock-alice' }
const STEP_1 = {
  WXGATE_ACCESS__DEFAULT: 'optional',
  WXGATE_PATHS__LOGIN: '/wx/login',
  WXGATE_SESSION__TOKEN_FROM: 'authorization',
}

module.exports = async ({ wechat, app, gate, call, folder }) => {
  const url = await wechat(folder)
  const secret = { WECHAT: url, WX_APP_SECRET: '0123456789abcdef0123456789abcdef' }
  const before = await app(folder, 'before.js', secret)
  const old = await call(before, 'POST', '/login', { who: 'old ', body })
  const headers = { 'X-Token': old.token }
  await call(before, 'GET', '/me', { who: 'old ', headers })

  const both = await gate(folder, url, before, STEP_1)
  await call(both, 'GET', '/me', { who: 'both', headers })
  await call(both, 'POST', '/login', { who: 'both', body })

  const after = await gate(folder, url, await app(folder, 'after.js', {}))
  const { token } = await call(after, 'POST', '/login', { body })
  await call(after, 'GET', '/me', { headers: { 'X-Token': token } })
  await call(after, 'GET', '/me', { headers })
  await call(after, 'GET', '/me', { headers: { 'X-WX-OPENID': 'somebody' } })
}
