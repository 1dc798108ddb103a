// What oauth2-proxy did for a browser, for a mini program.

module.exports = async ({ wechat, app, gate, call, folder }) => {
  const base = await gate(folder, await wechat(folder), await app(folder, 'app.js', {}))
  await call(base, 'GET', '/public/logo')
  await call(base, 'GET', '/orders', { headers: { 'X-Forwarded-User': 'somebody' } })
  const { token } = await call(base, 'POST', '/wx/login', { body: { code: 'mock-alice' } })
  await call(base, 'GET', '/orders', { token, headers: { 'X-Forwarded-User': 'somebody' } })
  await call(base, 'DELETE', '/wx/session', { token })
  await call(base, 'GET', '/orders', { token })
}
