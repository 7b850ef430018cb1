'use strict'
// Minifies the sources into dist/static under names that change with the content, and links them from the page.

const crypto = require('crypto')
const fs = require('fs')
const path = require('path')
const UglifyJS = require('uglify-js')

const root = path.join(__dirname, '..')
const dist = path.join(root, 'dist')

function read(name) {
  return fs.readFileSync(path.join(root, name), 'utf8')
}

function emit(folder, extension, content) {
  const digest = crypto.createHash('sha256').update(content).digest('hex').slice(0, 8)
  const name = `static/${folder}/app.${digest}.${extension}`
  const target = path.join(dist, name)
  fs.mkdirSync(path.dirname(target), { recursive: true })
  fs.writeFileSync(target, content)
  return '/' + name
}

const script = UglifyJS.minify(read('src/main.js'))
if (script.error) {
  throw script.error
}

fs.rmSync(dist, { recursive: true, force: true })
const page = read('index.html')
  .replace('%STYLE%', emit('css', 'css', read('src/style.css')))
  .replace('%SCRIPT%', emit('js', 'js', script.code))
fs.writeFileSync(path.join(dist, 'index.html'), page)
console.log('built ' + dist)
