// One mini program, which is not changed, at the old app server and at the new one.

const body = { code: 'mock-alice' }

module.exports = async ({ wechat, app, gate, call, folder }) => {
  const url = await wechat(folder)
  const secret = { WECHAT: url, WX_APP_SECRET: '0123456789abcdef0123456789abcdef' }
  const before = await app(folder, 'before.js', secret)
  const old = await call(before, 'POST', '/login', { who: 'old ', body })
  await call(before, 'GET', '/me', { who: 'old ', headers: { 'X-Token': old.token } })

  const after = await gate(folder, url, await app(folder, 'after.js', {}))
  const { token } = await call(after, 'POST', '/login', { body })
  await call(after, 'GET', '/me', { headers: { 'X-Token': token } })
  await call(after, 'GET', '/me', { headers: { 'X-Token': old.token } })
  await call(after, 'GET', '/me', { headers: { 'X-WX-OPENID': 'somebody' } })
}
