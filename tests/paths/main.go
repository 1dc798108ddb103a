// Says what Go's own router and ways of reading make of a target. Usage: paths PORT
package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
)

// Without wildcards, which routers before Go 1.22 do not have.
var resources = map[string]string{
	"/admin": "/admin", "/admin/": "/admin/x", "/exact": "/exact", "/open/secret/": "/open/secret/x",
	"/open/": "/open/x", "/api/": "/api/x", "/hooks/login": "/hooks/login", "/profile": "/profile",
	"/wx/login": "/wx/login",
}

func say(w http.ResponseWriter, r *http.Request, matched string) {
	decoded, _ := url.PathUnescape(r.URL.EscapedPath())
	views := []string{r.URL.Path, decoded, path.Clean(r.URL.Path), r.URL.EscapedPath(), path.Clean(r.URL.EscapedPath())}
	if matched != "" {
		views = append(views, matched)
	}
	for _, view := range views {
		fmt.Fprintf(w, "path %s\n", hex.EncodeToString([]byte(view)))
	}
}

func main() {
	mux := http.NewServeMux()
	for pattern, resource := range resources {
		resource := resource
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { say(w, r, resource) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { say(w, r, "") })
	both := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What the router redirects is a new request of the client's; read by hand it is this one.
		if path.Clean(r.URL.Path) != r.URL.Path {
			say(w, r, "")
			return
		}
		mux.ServeHTTP(w, r)
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], both); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
