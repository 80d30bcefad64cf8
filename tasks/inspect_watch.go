package tasks

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/taskstore/taskstore"
)

// Watch yields hints about the owner's tasks, or about the one with that id, as
// [taskstore.Watcher] does. The first hint is a Resync; read the task by Get or All for
// the truth. In the Key of a Change, Owner is the task's owner; Task is its ID, unless
// the Change is a Resync.
//
// On a backend that is not a Watcher the error matches [errors.ErrUnsupported].
func (i *Inspector) Watch(ctx context.Context, owner, id string) iter.Seq2[taskstore.Change, error] {
	return func(yield func(taskstore.Change, error) bool) {
		prefix := tasksKey(owner)
		err := checkOwner(owner)
		if id != "" {
			prefix, err = taskKey(owner, id)
		}
		if err != nil {
			yield(taskstore.Change{}, err)
			return
		}
		watcher, ok := taskstore.As[taskstore.Watcher](i.backend)
		if !ok {
			yield(taskstore.Change{}, fmt.Errorf("tasks: watch: %w", errors.ErrUnsupported))
			return
		}
		for c, err := range watcher.Watch(ctx, prefix) {
			c.Key = taskstore.Key{Owner: owner, Task: c.Key.Task}
			if err != nil {
				c = taskstore.Change{}
			}
			if !yield(c, err) {
				return
			}
		}
	}
}
