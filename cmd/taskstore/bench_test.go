package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

var errRefused = errors.New("refused")

// A lateRefusal refuses batches, and ends the measurement before it does.
type lateRefusal struct {
	taskstore.StorageBackend
	end context.CancelFunc
}

func (b lateRefusal) PutBatch(context.Context, []taskstore.Write) error {
	b.end()
	return errRefused
}

// However short the time is, each client takes a task through its life.
func TestBenchMeasuresOneLifeAtLeast(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	end()
	s, err := tasks.New(taskstore.NewMemoryBackend(nil), nil)
	require.NoError(t, err)
	took := make([]samples, len(lifeCalls))
	require.NoError(t, live(ctx, s, took))
	for call, name := range lifeCalls {
		assert.Equal(t, 1, took[call].count, name)
	}
}

// A call that fails after the time is over is a failure too.
func TestBenchReportsAFailureAfterItsTime(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	s, err := tasks.New(lateRefusal{taskstore.NewMemoryBackend(nil), end}, nil)
	require.NoError(t, err)
	assert.ErrorIs(t, live(ctx, s, make([]samples, len(lifeCalls))), errRefused)
}
