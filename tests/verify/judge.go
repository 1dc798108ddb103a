// Puts cases before the Go verifiers under docs/verify: a JSON list on stdin, a list of verdicts out.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	wxgate "judge/verify"
)

type Case struct {
	Keys                     []string
	Method, Target, Audience string
	Headers                  map[string]string
	Token                    *string
	Jwks                     wxgate.Keys
	Now                      int64
}

func (it Case) judge() bool {
	now := time.Unix(it.Now, 0)
	if it.Token != nil {
		_, err := wxgate.UserOf(it.Jwks, *it.Token, it.Audience, now)
		return err == nil
	}
	request := http.Request{Method: it.Method, RequestURI: bytesOf(it.Target), Header: http.Header{}}
	for name, value := range it.Headers {
		request.Header.Set(name, bytesOf(value))
	}
	var keys [][]byte
	for _, key := range it.Keys {
		keys = append(keys, []byte(key))
	}
	return wxgate.IsFromGate(keys, &request, now, time.Minute)
}

// A character of a case stands for a byte; one that is no byte stays as it is in UTF-8.
func bytesOf(text string) string {
	var bytes []byte
	for _, c := range text {
		if c < 0x100 {
			bytes = append(bytes, byte(c))
		} else {
			bytes = append(bytes, string(c)...)
		}
	}
	return string(bytes)
}

func main() {
	var cases []Case
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		log.Fatal(err)
	}
	verdicts := []bool{}
	for _, it := range cases {
		verdicts = append(verdicts, it.judge())
	}
	json.NewEncoder(os.Stdout).Encode(verdicts)
}
