package mcptasks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// createdKey is where in _meta a CreateTaskResult travels through the SDK, which
// would drop it.
const createdKey = "github.com/taskstore/taskstore/mcptasks/created"

// keepTask returns the response with its CreateTaskResult, if it is one, within
// the _meta of a result that the SDK keeps.
func keepTask(response []byte) []byte {
	if !bytes.Contains(response, []byte(`"task"`)) {
		return response
	}
	var message, result map[string]json.RawMessage
	if json.Unmarshal(response, &message) != nil || json.Unmarshal(message["result"], &result) != nil {
		return response
	}
	if string(result["resultType"]) != `"task"` {
		return response
	}
	message["result"] = wrapTask(message["result"])
	return mustMarshal(message)
}

func wrapTask(result json.RawMessage) json.RawMessage {
	return mustMarshal(map[string]any{
		"content": []any{}, "resultType": "complete", "_meta": map[string]any{createdKey: result},
	})
}

// ClientTransport prepares a transport, such as stdio, for [InstallClient]. It is
// not for the SDK's StreamableClientTransport; see [RoundTripper].
func ClientTransport(transport mcp.Transport) mcp.Transport { return clientTransport{transport} }

type clientTransport struct{ mcp.Transport }

func (t clientTransport) Connect(ctx context.Context) (mcp.Connection, error) {
	conn, err := t.Transport.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return clientConn{conn}, nil
}

type clientConn struct{ mcp.Connection }

func (c clientConn) Read(ctx context.Context) (jsonrpc.Message, error) {
	m, err := c.Connection.Read(ctx)
	r, ok := m.(*jsonrpc.Response)
	if err != nil || !ok || r.Error != nil {
		return m, err
	}
	var kind struct {
		ResultType string `json:"resultType"`
	}
	if json.Unmarshal(r.Result, &kind) != nil || kind.ResultType != "task" {
		return m, nil
	}
	kept := *r
	kept.Result = wrapTask(r.Result)
	return &kept, nil
}

// RoundTripper prepares HTTP for [InstallClient]: use it as the Transport of the
// HTTPClient of an [mcp.StreamableClientTransport]. It also sets the Mcp-Name
// header of requests about tasks. A nil base means [http.DefaultTransport].
func RoundTripper(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return roundTripper{base}
}

type roundTripper struct{ base http.RoundTripper }

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	method := req.Header.Get(headerMethod)
	switch method {
	case methodGet, methodUpdate, methodCancel:
		var err error
		if req, err = withName(req); err != nil {
			return nil, err
		}
	case methodCall:
	default:
		return t.base.RoundTrip(req)
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	switch kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) {
	case "application/json":
		// Half an answer is an attempt that failed. To the SDK it would be the end of
		// the session.
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if method == methodCall {
			body = keepTask(body)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		resp.ContentLength = int64(len(body))
		resp.Header.Del("Content-Length")
	case "text/event-stream":
		if method != methodCall {
			break
		}
		resp.Body = &eventReader{body: resp.Body, lines: bufio.NewReader(resp.Body)}
		resp.ContentLength = -1
		resp.Header.Del("Content-Length")
	}
	return resp, nil
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

// An eventReader reads server-sent events and keeps the task among them.
type eventReader struct {
	body  io.Closer
	lines *bufio.Reader
	ready []byte
	err   error
}

func (r *eventReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		var line []byte
		line, r.err = r.lines.ReadBytes('\n')
		// One line holds a whole message: JSON needs no line breaks.
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if kept := keepTask(data); len(kept) != len(data) {
				line = append(append([]byte("data: "), kept...), '\n')
			}
		}
		r.ready = line
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

func (r *eventReader) Close() error { return r.body.Close() }
