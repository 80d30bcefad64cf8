package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestASecondRunFindsTheTasksOfTheFirst(t *testing.T) {
	store := taskstore.NewMemoryBackend(nil)
	var first, second strings.Builder
	require.NoError(t, run(t.Context(), &first, store))
	assert.Contains(t, first.String(), "tasks of alice from before: 0")
	for _, word := range []string{"created", "updated", "refused", "isolated", "listed", "watched", "expired"} {
		assert.Contains(t, first.String(), "\n"+word)
	}
	require.NoError(t, run(t.Context(), &second, store))
	assert.Contains(t, second.String(), "tasks of alice from before: 1")
}
