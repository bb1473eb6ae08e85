//go:build cgo && !noopencl

package opencl
import ("testing";"context";"time";"github.com/gonvolve/gonvolve/gpu/hal";"github.com/gonvolve/gonvolve/shaders";"runtime";"math/rand")
func TestZZ(t *testing.T){
	for r:=range 5 { for range 1000 { d := must(API().Open(0, hal.Options{}))(t)
		q := must(d.NewQueue())(t)
		m, s := alloc(t, d, 1<<16, hal.DeviceMemory), alloc(t, d, 1<<16, hal.StagingMemory)
		submit(t, q, hal.Command{Op: hal.Copy, Dst: m, Src: s, Bytes: 1 << 16})
		m.Free(); s.Free(); q.Free(); d.Close() }
		runtime.GC()
		b,f:=resident(t); t.Log(r,b,f) }
	for r:=range 3 { for range 300 { d := must(API().Open(0, hal.Options{}))(t)
		q := must(d.NewQueue())(t)
		k := must(d.NewKernel(context.Background(), scale, scaleTunables))(t)
		m, s := alloc(t, d, 1<<16, hal.DeviceMemory), alloc(t, d, 1<<16, hal.StagingMemory)
		v:=must(m.View(0,1024))(t)
		submit(t, q, hal.Command{Op: hal.Dispatch, Kernel:k, Groups:[3]int{1,1,1},Views:[]hal.View{v,v},Params:params(1,1)})
		k.Free(); v.Free()
		m.Free(); s.Free(); q.Free(); d.Close() }
		runtime.GC()
		b,f:=resident(t); t.Log("kern",r,b,f) }
}
func TestZC(t *testing.T){
	cache := &blobs{m: map[string][]byte{}}
	k,_:=shaders.Get("conv_direct")
	vals:=[]int32{}
	for _,x:=range k.Tunables { vals=append(vals,x.Default) }
	kk:=*k
	kk.CL += "\n// "+time.Now().String()
	_=rand.Int
	for i:=range 3 {
		d := must(API().Open(0, hal.Options{Blob:cache}))(t)
		t0:=time.Now()
		n:=must(d.NewKernel(context.Background(), &kk, vals))(t)
		t1:=time.Now()
		q:=must(d.NewQueue())(t)
		m:=alloc(t,d,1<<16,hal.DeviceMemory)
		v:=must(m.View(0,1<<16))(t)
		vs:=[]hal.View{}
		for range kk.Buffers {vs=append(vs,v)}
		submit(t,q,hal.Command{Op:hal.Dispatch,Kernel:n,Groups:[3]int{1,1,1},Views:vs,Params:make([]byte,kk.ParamBytes)})
		t.Log(i,"compile",t1.Sub(t0),"first",time.Since(t1))
		q.Free();v.Free();m.Free();n.Free();d.Close()
	}
	d := must(API().Open(0, hal.Options{}))(t)
	for range 2 {
		t0:=time.Now()
		n:=must(d.NewKernel(context.Background(), &kk, vals))(t)
		t.Log("nocache compile",time.Since(t0))
		n.Free()
	}
	kk.CL += "\n// b"+time.Now().String()
		t0:=time.Now()
		n:=must(d.NewKernel(context.Background(), &kk, vals))(t)
		t.Log("nocache fresh compile",time.Since(t0))
		n.Free()
}
