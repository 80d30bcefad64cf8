package ui

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A browser opens connections before it needs them. They are closed at once when the command
// ends, those that are accepted by then and those that come after.
func TestSpareConnectionsDoNotDelayTheEnd(t *testing.T) {
	l, err := Listen("127.0.0.1:0", "")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, newWorld(t), Options{Interval: time.Second}) }()
	spare, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer spare.Close()
	response, err := http.Get("http://" + l.Addr().String() + "/") // accepted after the spare one
	require.NoError(t, err)
	response.Body.Close()
	began := time.Now()
	stop()
	assert.ErrorIs(t, <-ended, context.Canceled)
	assert.Less(t, time.Since(began), shutdownTime)
	_, err = spare.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)

	server, client := net.Pipe()
	var s spares
	s.closeAll()
	s.note(server, http.StateNew)
	_, err = client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
}
