package main

import (
	"bufio"
	"io"
	"log"
	"net"
	"strings"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// serveGobwas upgrades without net/http.
func serveGobwas(addr string) {
	h := newHub[[]byte]()
	for listener := listen(addr); ; {
		c, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			handle := echoGobwas
			upgrader := ws.Upgrader{OnRequest: func(uri []byte) error {
				if strings.HasPrefix(string(uri), "/broadcast") {
					handle = func(c net.Conn) { broadcastGobwas(c, h) }
				}
				return nil
			}}
			if _, err := upgrader.Upgrade(c); err == nil {
				handle(c)
			}
		}()
	}
}

// echoGobwas is the README's second example with a buffered reader, and with
// a writer that grows, so that a message leaves as one frame in one write.
func echoGobwas(c net.Conn) {
	control := wsutil.ControlFrameHandler(c, ws.StateServerSide)
	r := wsutil.NewReader(bufio.NewReader(c), ws.StateServerSide)
	r.OnIntermediate = control
	w := wsutil.NewWriterSize(c, ws.StateServerSide, ws.OpText, 1024)
	w.DisableFlush()
	for {
		header, err := r.NextFrame()
		switch {
		case err != nil:
		case header.OpCode.IsControl():
			err = control(header, r)
		default:
			w.ResetOp(header.OpCode)
			if _, err = io.Copy(w, r); err == nil {
				err = w.Flush()
			}
		}
		if err != nil {
			return
		}
	}
}

// broadcastGobwas frames a message once.
func broadcastGobwas(c net.Conn, h *hub[[]byte]) {
	receive := func() ([]byte, error) {
		data, op, err := wsutil.ReadClientData(c)
		if err != nil {
			return nil, err
		}
		return ws.CompileFrame(ws.NewFrame(op, true, data))
	}
	send := func(frame []byte) error { _, err := c.Write(frame); return err }
	h.run(receive, send, func() { c.Close() })
}
