package main

import (
	"encoding/json"
	"fmt"
	"time"

	"aerys"
)

// hello answers with a little plain text.
func hello(_ *aerys.Request, res *aerys.Response) {
	res.SetHeader("Content-Type", "text/plain; charset=utf-8").End("Hello, World!")
}

// order is the JSON that post takes.
type order struct {
	ID    int      `json:"id"`
	User  string   `json:"user"`
	Price float64  `json:"price"`
	Tags  []string `json:"tags"`
	Text  string   `json:"text"`
}

// post decodes an order, and answers as hello does.
func post(req *aerys.Request, res *aerys.Response) {
	var o order
	if err := json.NewDecoder(req.Body()).Decode(&o); err != nil {
		res.SetStatus(400).End(err.Error())
		return
	}
	hello(req, res)
}

// events sends an event of 100 bytes at a time, ?every=100ms apart, for as long
// as the client stays.
func events(req *aerys.Request, res *aerys.Response) {
	pause, err := time.ParseDuration(req.Param("every"))
	if err != nil || pause < 0 {
		res.SetStatus(400).End("want ?every= and a duration, such as 100ms")
		return
	}
	res.SetHeader("Content-Type", "text/event-stream")
	event := make([]byte, 0, 100)
	for n := 0; req.Context().Err() == nil; n++ {
		event = fmt.Appendf(event[:0], "data: %092d\n\n", n)
		res.Write(event)
		if res.Flush() != nil {
			return
		}
		time.Sleep(pause)
	}
}
