module github.com/taskstore/taskstore/otel

go 1.26.0

require (
	github.com/modelcontextprotocol/go-sdk v1.8.0
	github.com/taskstore/taskstore v0.0.0-00010101000000-000000000000
	github.com/taskstore/taskstore/mcptasks v0.0.0-00010101000000-000000000000
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/exporters/prometheus v0.69.0
	go.opentelemetry.io/otel/metric v1.47.0
	go.opentelemetry.io/otel/sdk v1.47.0
	go.opentelemetry.io/otel/sdk/metric v1.47.0
	go.opentelemetry.io/otel/trace v1.47.0
)

replace github.com/taskstore/taskstore => ../

replace github.com/taskstore/taskstore/mcptasks => ../mcptasks
