package taskstore_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestOpenChoosesByScheme(t *testing.T) {
	b, err := taskstore.Open(t.Context(), "memory:")
	require.NoError(t, err)
	assert.IsType(t, &taskstore.MemoryBackend{}, b)

	asked := ""
	taskstore.Register("open-test", func(_ context.Context, rawURL string) (taskstore.StorageBackend, error) {
		asked = rawURL
		return taskstore.NewMemoryBackend(nil), nil
	})
	_, err = taskstore.Open(t.Context(), "Open-Test:some/path")
	require.NoError(t, err)
	assert.Equal(t, "Open-Test:some/path", asked)
}

// An opener that fails leaves no backend, not even a nil pointer in an interface.
func TestOpenRefusesWithAReason(t *testing.T) {
	for url, want := range map[string]string{
		"":                      "it must begin with one of memory:, ",
		"tasks.db":              "redis:, rediss:, unix: (other stores are known once the program imports their package)",
		"s3cr3t@host:6379":      "it must begin with one of",
		"memory:tasks":          "memory: takes no path",
		"redis://h:1?no_such=1": "",
		"redis://:s3cr3t@h:1/x": "",
	} {
		b, err := taskstore.Open(t.Context(), url)
		require.ErrorIs(t, err, taskstore.ErrInvalidArgument, url)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "s3cr3t")
		assert.True(t, b == nil, url)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := taskstore.Open(ctx, "memory:")
	assert.ErrorIs(t, err, context.Canceled)
}

// closing counts how often it is closed.
type closing struct {
	taskstore.StorageBackend
	times int
}

func (c *closing) Close() error { c.times++; return io.ErrClosedPipe }

type wrapping struct{ taskstore.StorageBackend }

func (w wrapping) Unwrap() taskstore.StorageBackend { return w.StorageBackend }

// Close finds the first closer, also below decorators, and returns its error.
func TestCloseClosesTheFirstCloser(t *testing.T) {
	c := &closing{StorageBackend: taskstore.NewMemoryBackend(nil)}
	assert.ErrorIs(t, taskstore.Close(wrapping{wrapping{c}}), io.ErrClosedPipe)
	assert.Equal(t, 1, c.times)
	assert.NoError(t, taskstore.Close(wrapping{struct{ taskstore.StorageBackend }{c}}), "the wrapper hides the closer")
	assert.NoError(t, taskstore.Close(nil))
	assert.Equal(t, 1, c.times)
}

func TestRegisterPanicsOnBadArguments(t *testing.T) {
	open := func(context.Context, string) (taskstore.StorageBackend, error) { return nil, nil }
	for _, scheme := range []string{"", "memory", "redis", "Upper", "a:b"} {
		assert.Panics(t, func() { taskstore.Register(scheme, open) }, scheme)
	}
	assert.Panics(t, func() { taskstore.Register("open-nil", nil) })
}
