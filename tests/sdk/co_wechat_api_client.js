// An app server that uses co-wechat-api as it is: only its prefixes point at the gate's egress listener. It asks for a
// token first, as SDKs do, and gets a placeholder.
//
// Usage: co_wechat_api_client.js EGRESS_URL OPENID. Prints one line of JSON.
'use strict';

const API = require('co-wechat-api');

const [egress, openid] = process.argv.slice(2);

async function main() {
  const api = new API('wx0123456789abcdef', 'no-secret-here');
  api.prefix = `${egress}/cgi-bin/`;
  api.wxaPrefix = `${egress}/wxa/`;
  const token = await api.ensureAccessToken();
  const headers = { 'content-type': 'application/json' };
  const checked = await api.request(
    `${api.wxaPrefix}msg_sec_check?access_token=${token.accessToken}`,
    {
      method: 'POST',
      headers,
      data: JSON.stringify({ content: '你好', version: 2, scene: 2, openid }),
    },
  );
  const picture = await api.getWXACodeUnlimit('a=1');
  console.log(
    JSON.stringify({
      suggest: checked.result.suggest,
      placeholder: token.accessToken,
      picture_bytes: picture.length,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
