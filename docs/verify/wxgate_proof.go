// Package wxgate says whether a request came through the gate, by what [identity.hmac] and
// [identity.jwt] add to it. The standard library only. Headers have their default names here: write those of
// your [identity] where they are others.
package wxgate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var proofForm = regexp.MustCompile(`\Av1;t=([0-9]{1,12});s=([0-9a-f]{64})\z`)

// IsFromGate says whether the identity headers of r are the gate's; only then look at them. keys: the
// key, and during a change-over the previous one; one below 32 bytes is none, as when a variable is not
// set.
func IsFromGate(keys [][]byte, r *http.Request, now time.Time, window time.Duration) bool {
	proof := proofForm.FindStringSubmatch(r.Header.Get("X-WX-Proof"))
	if proof == nil {
		return false
	}
	seconds, err := strconv.ParseInt(proof[1], 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > window {
		return false
	}
	lines := []string{"v1", proof[1], r.Header.Get("X-Request-Id"), r.Method, r.RequestURI,
		r.Header.Get("X-WX-APPID"), r.Header.Get("X-WX-OPENID"), r.Header.Get("X-WX-UNIONID")}
	signature, err := hex.DecodeString(proof[2])
	good := false
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(strings.Join(lines, "\n")))
		good = len(key) >= 32 && hmac.Equal(mac.Sum(nil), signature) || good
	}
	return good && err == nil
}
