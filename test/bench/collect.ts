/** Loaded into a server whose memory is measured: on SIGUSR2 it collects its garbage and says how much it has resident. */
process.on('SIGUSR2', () => {
  globalThis.gc?.()
  globalThis.gc?.()
  // What was freed is given back to the system a moment later.
  setTimeout(() => {
    globalThis.gc?.()
    process.stdout.write(`resident ${process.memoryUsage.rss()}\n`)
  }, 300)
})
