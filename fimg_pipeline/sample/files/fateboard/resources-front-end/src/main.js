'use strict'

function describe(answer) {
  return 'Version ' + answer.version + ', jobs of ' + answer.fateflow
}

fetch('/version')
  .then(function (response) {
    return response.json()
  })
  .then(function (answer) {
    document.getElementById('version').textContent = describe(answer)
  })
