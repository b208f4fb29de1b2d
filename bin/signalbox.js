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
  import('../main.ts').catch(function (error) {
    // As a built package it is JavaScript already.
    if (error.code === 'ERR_MODULE_NOT_FOUND' && String(error.url).endsWith('/main.ts')) return import('../main.js')
    throw error
  })
}
