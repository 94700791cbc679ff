// The search of a page that was opened from the disk. Browsers start no worker there, so a hidden frame does its work.
// The plugin `offline` would fetch a script of this name from another host.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.srcdoc = "<!doctype html>"
      this.frame = frame
      this.ready = new Promise((resolve) => {
        frame.onload = async () => {
          const inside = frame.contentWindow
          const load = (source) =>
            new Promise((done, failed) => {
              const script = inside.document.createElement("script")
              Object.assign(script, { src: source, onload: done, onerror: failed })
              inside.document.head.append(script)
            })
          inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
          inside.importScripts = async (...sources) => {
            for (const source of sources) await load(source)
          }
          await load(url)
          resolve(inside)
        }
      })
      document.body.append(frame)
    }

    async postMessage(data) {
      const inside = await this.ready
      inside.dispatchEvent(new inside.MessageEvent("message", { data }))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
