package mcptasks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A stream is a connection by hand.
type stream struct {
	t    testing.TB
	conn mcp.Connection
}

// stream connects to the replica over a transport with one connection for all.
func (r *replica) stream() *stream {
	r.t.Helper()
	clientSide, serverSide := mcp.NewInMemoryTransports()
	session, err := r.mcp.Connect(context.Background(), r.tasks.Transport(serverSide), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	conn, err := clientSide.Connect(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = conn.Close()
		_ = session.Close()
	})
	return &stream{t: r.t, conn: conn}
}

// send listens, with a request of this id.
func (s *stream) send(c *caller, id any, notifications map[string]any) {
	s.t.Helper()
	s.request(c, id, "subscriptions/listen", map[string]any{"notifications": notifications})
}

func (s *stream) request(c *caller, id any, method string, params map[string]any) {
	s.t.Helper()
	m := message(c, id, method, params)
	if err := s.conn.Write(context.Background(), m); err != nil {
		s.t.Fatal(err)
	}
}

// message is a request as a transport has it.
func message(c *caller, id any, method string, params map[string]any) jsonrpc.Message {
	c.t.Helper()
	body, err := io.ReadAll(c.request(context.Background(), method, params).Body)
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := jsonrpc.DecodeMessage(bytes.Replace(body, []byte(`"id":7`), append([]byte(`"id":`), marshalID(c.t, id)...), 1))
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// marshalID takes an id as a Go value or, as json.RawMessage, the way it is written.
func marshalID(t testing.TB, id any) []byte {
	raw, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (s *stream) next() event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m, err := s.conn.Read(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := jsonrpc.EncodeMessage(m)
	if err != nil {
		s.t.Fatal(err)
	}
	e := event{Raw: raw}
	if err := json.Unmarshal(raw, &e); err != nil {
		s.t.Fatal(err)
	}
	return e
}
