#!/usr/bin/env node
/** Says in words which Node is needed, before anything that an older one cannot read is loaded. */
/* Only syntax that every Node since 10 can parse. */
const needed = 24
const running = parseInt(process.versions.node, 10)

if (running < needed) {
  process.stderr.write(
    'signalbox needs Node ' +
      needed +
      ' or newer; this is Node ' +
      process.versions.node +
      '.\n' +
      'Install it from https://nodejs.org, or, in a checkout after npm ci, write: npx signalbox (which brings its own).\n',
  )
  process.exitCode = 1
} else {
  keepCompiled()
  import('../main.ts').catch(function (error) {
    // As a built package it is JavaScript already.
    if (error.code === 'ERR_MODULE_NOT_FOUND' && String(error.url).endsWith('/main.ts')) return import('../main.js')
    throw error
  })
}

/**
 * What was compiled for one start is kept for the next, which takes half the time then, and for worker threads. Not in the folder
 * for temporary files, where others could put something. NODE_COMPILE_CACHE names another folder, NODE_DISABLE_COMPILE_CACHE=1
 * turns it off.
 */
function keepCompiled() {
  const { HOME, USERPROFILE, XDG_CACHE_HOME, NODE_COMPILE_CACHE } = process.env
  const home = HOME || USERPROFILE
  const caches = XDG_CACHE_HOME || (home && home + '/.cache')
  if (NODE_COMPILE_CACHE || !caches) return
  const { directory } = process.getBuiltinModule('node:module').enableCompileCache(caches + '/signalbox')
  // Threads and further processes find it by this alone.
  if (directory) process.env.NODE_COMPILE_CACHE = directory
}
