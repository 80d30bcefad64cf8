package mcptasks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A constant is the answer to a tasks/get that is no longer looked up.
type constant struct {
	mcp.ResultBase
	ResultType     string          `json:"resultType"`
	TaskID         string          `json:"taskId"`
	Status         string          `json:"status"`
	StatusMessage  string          `json:"statusMessage,omitempty"`
	CreatedAt      string          `json:"createdAt"`
	LastUpdatedAt  string          `json:"lastUpdatedAt"`
	TTLMs          *int64          `json:"ttlMs"`
	PollIntervalMs int64           `json:"pollIntervalMs"`
	Result         json.RawMessage `json:"result,omitempty"`
}

// BenchmarkGet compares tasks/get over HTTP, as a client waits for it, with the
// same request to a server with a constant answer: it is the same up to the outermost
// middleware, which returns the same bytes at once. The two take turns.
func BenchmarkGet(b *testing.B) {
	for name, store := range stores {
		b.Run(name, func(b *testing.B) {
			open := store(b)
			release := make(chan struct{})
			close(release)
			looked := start(b, open(), nil, statusTools(release)).as("alice")
			id := looked.create("work", nil)
			want := looked.until(id, "completed")
			answer := new(constant)
			if err := json.Unmarshal(want.Raw, answer); err != nil {
				b.Fatal(err)
			}
			fixed := start(b, open(), nil, statusTools(release)).as("alice")
			fixed.mcp.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
				return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
					if method != "tasks/get" {
						return next(ctx, method, req)
					}
					fresh := *answer // the SDK writes into its _meta
					return &fresh, nil
				}
			})
			if got := fixed.get(id); !bytes.Equal(got.Raw, want.Raw) {
				b.Fatalf("the answers differ:\n%s\n%s", got.Raw, want.Raw)
			}
			var took [2][]time.Duration
			ask := []func(){polling(b, fixed, id), polling(b, looked, id)}
			for n := 0; b.Loop(); n++ {
				for i := range ask {
					i = (i + n) % 2
					begin := time.Now()
					ask[i]()
					took[i] = append(took[i], time.Since(begin))
				}
			}
			median := func(d []time.Duration) float64 {
				slices.Sort(d)
				return float64(d[len(d)/2].Nanoseconds()) / 1e3
			}
			b.ReportMetric(median(took[0]), "constant-µs")
			b.ReportMetric(median(took[1]), "get-µs")
			b.ReportMetric(median(took[1])/median(took[0]), "ratio")
		})
	}
}

// polling returns a function that sends the request for a task and reads the answer, as
// lean as can be: both figures include it.
func polling(b *testing.B, c *caller, id string) func() {
	template := c.request(b.Context(), "tasks/get", map[string]any{"taskId": id})
	body, err := io.ReadAll(template.Body)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		req := template.Clone(b.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n == 0 || resp.StatusCode != http.StatusOK {
			b.Fatalf("HTTP %d, %d bytes: %v", resp.StatusCode, n, err)
		}
	}
}
