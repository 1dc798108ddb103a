"""An app server that knows nothing of the gate but `http_proxy`: it calls WeChat by its own name.

Usage: http_proxy=EGRESS_URL http_proxy_client.py OPENID. Prints one line of JSON.
"""

import json
import sys
import urllib.request

openid = sys.argv[1]
body = json.dumps({"content": "你好", "version": 2, "scene": 2, "openid": openid}, ensure_ascii=False)
request = urllib.request.Request(
    "http://api.weixin.qq.com/wxa/msg_sec_check",
    data=body.encode(),
    headers={"Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=10) as answer:
    checked = json.load(answer)
    seqid = answer.headers["x-openapi-seqid"]
print(json.dumps({"suggest": checked["result"]["suggest"], "seqid": seqid}))
