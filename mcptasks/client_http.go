package mcptasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// RoundTripper prepares HTTP for [InstallClient]: use it as the Transport of the
// HTTPClient of an [mcp.StreamableClientTransport]. It also sets the Mcp-Name
// header of requests about tasks. A nil base means [http.DefaultTransport].
//
// When the ctx of a tools/call ends, its HTTP request goes on for up to 3 seconds,
// so that a task that the server is about to answer with can be cancelled.
func RoundTripper(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return roundTripper{base}
}

// linger is how long the client waits for the answer to a tools/call whose caller has
// gone.
const linger = 3 * time.Second

type roundTripper struct{ base http.RoundTripper }

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	method := methodOf(req)
	switch method {
	case methodGet, methodUpdate, methodCancel:
		var err error
		if req, err = withName(req); err != nil {
			return nil, err
		}
	}
	x := exchangeOf(req.Context())
	resumes := req.Method == http.MethodGet // the SDK goes on reading a stream that broke off
	if x == nil || !resumes && method != x.method {
		return t.base.RoundTrip(req)
	}
	if !resumes {
		x.begin(nil)
	}
	switch x.method {
	case methodCall:
		return t.outlive(x, req)
	case methodGet, methodUpdate, methodCancel:
		// The bound is here and not in the call's ctx, within which the SDK may ask
		// people for authorization.
		ctx, cancel := context.WithTimeout(req.Context(), requestTimeout)
		return t.send(x, req.WithContext(ctx), cancel)
	}
	return t.send(x, req, func() {})
}

// methodOf returns the method of the JSON-RPC request. Before protocol version
// 2026-07-28 no header has it.
func methodOf(req *http.Request) string {
	if method := req.Header.Get(headerMethod); method != "" || req.GetBody == nil {
		return method
	}
	body, err := req.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	var message struct {
		Method string `json:"method"`
	}
	_ = json.NewDecoder(body).Decode(&message)
	return message.Method
}

// outlive sends the request so that it goes on for a while when its ctx ends.
func (t roundTripper) outlive(x *exchange, req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	detached, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(linger, cancel) })
	end := func() { stop(); cancel() }
	type answer struct {
		resp *http.Response
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		resp, err := t.send(x, req.WithContext(detached), end)
		answered <- answer{resp, err}
	}()
	select {
	case a := <-answered:
		return a.resp, a.err
	case <-ctx.Done():
		go func() {
			if a := <-answered; a.err == nil {
				_, _ = io.Copy(io.Discard, a.resp.Body) // x looks at the body
				_ = a.resp.Body.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// send sends the request and has x look at the answer. It calls end when the answer's
// body is closed, or if there is no answer.
func (t roundTripper) send(x *exchange, req *http.Request, end func()) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		x.over()
		end()
		return nil, err
	}
	resp.Body = &endingBody{resp.Body, end}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		x.over()
		return resp, keepRefusal(x, resp)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch kind {
	case "application/json":
		// Half an answer is an attempt that failed. To the SDK it would be the end of
		// the session.
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		defer x.over() // after look, which may find a task
		if err != nil {
			return nil, err
		}
		if instead := x.look(body); instead != nil {
			body = instead
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		resp.ContentLength = int64(len(body))
		resp.Header.Del("Content-Length")
	case "text/event-stream":
		resp.Body = newEventReader(resp.Body, x.look)
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	return resp, nil
}

type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// keepRefusal keeps for x the parts of a refusal that the SDK drops.
func keepRefusal(x *exchange, resp *http.Response) error {
	const enough = 64 << 10
	start, err := io.ReadAll(io.LimitReader(resp.Body, enough))
	if err != nil {
		_ = resp.Body.Close()
		return err
	}
	rest := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), rest), rest}
	var body *jsonrpc.Error
	var message map[string]json.RawMessage
	if decodeFirst(start, &message) == nil && bytes.HasPrefix(message["error"], []byte("{")) {
		body = readError(message["error"])
	}
	x.refused(retryAfter(resp.Header), body)
	return nil
}

// retryAfter returns the time that Retry-After says, in seconds or as a date, or 0. A
// date is held to the clock of its server.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(longest/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), longest)
}

// withName returns req with the Mcp-Name header of its taskId.
func withName(req *http.Request) (*http.Request, error) {
	if req.Body == nil {
		return req, nil
	}
	body, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context()) // a RoundTripper must not change the caller's
	req.Body = io.NopCloser(bytes.NewReader(body))
	var message struct {
		Params struct {
			TaskID string `json:"taskId"`
		} `json:"params"`
	}
	if json.Unmarshal(body, &message) == nil && message.Params.TaskID != "" {
		req.Header.Set(headerName, headerValue(message.Params.TaskID))
	}
	return req, nil
}
