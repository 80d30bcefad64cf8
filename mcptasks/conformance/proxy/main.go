// Command proxy spreads requests over servers, each to the next one: what a load
// balancer without stickiness does.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8079", "address to listen on")
	to := flag.String("to", "", "comma-separated base URLs")
	flag.Parse()
	var servers []*httputil.ReverseProxy
	for base := range strings.SplitSeq(*to, ",") {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" {
			log.Fatalf("-to: %q is not a URL", base)
		}
		servers = append(servers, &httputil.ReverseProxy{
			// The Host header becomes the server's: the SDK refuses others on loopback.
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(u) },
			FlushInterval: -1, // events go through as they come
		})
	}
	var turn atomic.Uint64
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s/\n", listener.Addr())
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		servers[turn.Add(1)%uint64(len(servers))].ServeHTTP(w, r)
	})}
	log.Fatal(web.Serve(listener))
}
