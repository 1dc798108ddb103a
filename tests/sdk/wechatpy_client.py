"""An app server that uses wechatpy as it is: only its base URL points at the gate's egress listener.

Usage: wechatpy_client.py EGRESS_URL OPENID. Prints one line of JSON.
"""

import json
import sys

from wechatpy import WeChatClient

egress, openid = sys.argv[1:3]

# wechatpy asks for a token at a URL that cannot be changed, unless it is given one. Any will do: the
# gate puts its own in the place of it.
client = WeChatClient("wx0123456789abcdef", "no-secret-here", access_token="any")
client.API_BASE_URL = egress + "/cgi-bin/"

checked = client.post(
    "msg_sec_check",
    api_base_url=egress + "/wxa/",
    data={"content": "你好", "version": 2, "scene": 2, "openid": openid},
)
picture = client.post(
    "getwxacodeunlimit", api_base_url=egress + "/wxa/", data={"scene": "a=1"}
)
print(
    json.dumps(
        {
            "suggest": checked["result"]["suggest"],
            "picture_type": picture.headers["content-type"],
            "picture_bytes": len(picture.content),
        }
    )
)
