package peers

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// Asynq is hibiken/asynq, a task queue in Redis, with a queue for each owner. The
// tasks are scheduled for later, since it updates only such. Its update reads and writes
// without a comparison.
func Asynq(c *redis.Client) Peer {
	client := asynq.NewClientFromRedisClient(c)
	inspector := asynq.NewInspectorFromRedisClient(c)
	list := func(owner string, limit int) (int, error) {
		tasks, err := inspector.ListScheduledTasks(owner, asynq.PageSize(limit), asynq.Page(1))
		return len(tasks), err
	}
	return Peer{
		Name: "asynq",
		Create: func(ctx context.Context, owner, task string, data []byte) (Record, error) {
			_, err := client.EnqueueContext(ctx, asynq.NewTask("task", data),
				asynq.Queue(owner), asynq.TaskID(task), asynq.ProcessIn(life), asynq.Timeout(time.Hour))
			return Record{1, data}, err
		},
		Get: func(_ context.Context, owner, task string) (Record, error) {
			info, err := inspector.GetTaskInfo(owner, task)
			if err != nil {
				return Record{}, err
			}
			return Record{1, info.Payload}, nil
		},
		Update: func(_ context.Context, owner, task string, data []byte, prev Record) (Record, error) {
			return Record{prev.Revision + 1, data}, inspector.UpdateTaskPayload(owner, task, data)
		},
		Delete: func(_ context.Context, owner, task string) error { return inspector.DeleteTask(owner, task) },
		List:   func(_ context.Context, owner string) (int, error) { return list(owner, 1<<30) },
		Page:   func(_ context.Context, owner string, limit int) (int, error) { return list(owner, limit) },
	}
}
