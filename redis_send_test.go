package taskstore

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFlightIsSentOrAbandoned(t *testing.T) {
	wrong := errors.New("wrong")
	write := func(f *flight) string {
		b, err := f.MarshalBinary()
		require.NoError(t, err, "it would break a batch")
		return string(b)
	}

	f := &flight{script: "script"}
	assert.Equal(t, "script", write(f))
	assert.False(t, neverExecuted(f.landed(wrong)))
	assert.Equal(t, "script", write(f), "the client may write it when its call is over")

	f = &flight{script: "script"}
	assert.True(t, neverExecuted(f.landed(wrong)))
	assert.Empty(t, write(f), "nothing is executed")
	assert.Empty(t, write(f))

	f = &flight{script: "script"}
	write(f)
	f.unsent()
	assert.True(t, neverExecuted(f.landed(wrong)))
	assert.Empty(t, write(f))

	f = &flight{script: "script"}
	require.True(t, neverExecuted(f.landed(wrong)))
	f.unsent()
	assert.Empty(t, write(f), "it stays abandoned")
}

// What go-redis knew of a command before it wrote it again is not true any more.
func TestFlightForgetsTheErrorOfAnEarlierSending(t *testing.T) {
	f := &flight{script: "script"}
	f.cmd = redis.NewCmd(context.Background())
	f.cmd.SetErr(errors.New("MOVED 1 other:6379"))
	_, err := f.MarshalBinary()
	require.NoError(t, err)
	assert.NoError(t, f.cmd.Err())
}
